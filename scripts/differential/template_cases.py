"""Chat templates made of random expressions and of the constructs of templates in use."""

import json

from reference import Case

LISTS = ["['a', 'b', 'a']", "[3, 1, 2]", "[]", "[1.0, true, none, 'x\\ny']", "'a,b,,c'.split(',')", "range(4)|list", "messages|map(attribute='role')|list", "[[1, 2], ('u', 3)]"]
TEXTS = ["'Abc def'", "' pad '", "''", "\"it's\"", "messages[0].content", "messages[-1]['content']", "'x' * 3", "'é½🙂'", "'a-b_c'", "'12'", "('%s and %d' % ('p', 7))", "'line\\nbreak'"]
NUMBERS = ["3", "0", "-7", "2.5", "1e20", "7 // 2", "-7 // 2", "-7 % 3", "2 ** 5", "10 / 4", "messages|length", "1_000", "0.1 + 0.2", "true + 1"]
DICTS = ["{'k': 1, 'l': [none, true]}", "{}", "messages[0]", "{'b': 'x', 'a': \"q'q\"}", "dict(a=1, b='c')"]
OF_TEXT = [
    "{}.upper()", "{}.title()", "{}|title", "{}|capitalize", "{}.strip()", "{}|trim", "{}.split()", "{}.split(' ', 1)", "{}.rsplit(None, 1)",
    "{}.partition('b')", "{}.rpartition(' ')", "{}.replace('b', 'XY', 1)", "{}|replace('a', 'oo')", "{}.removeprefix('A')", "{}.removesuffix('c')",
    "{}.find('c')", "{}.count('a')", "{}.zfill(12)", "{}.center(11)", "{}.ljust(9)", "{}.startswith(('A', 'x'))", "{}.endswith('c')", "{}.isdigit()",
    "{}.splitlines()", "{}[::-1]", "{}[1:3]", "{}[-2:]", "{}|length", "{}|list", "{}|wordcount", "{}|indent(2)", "{}|truncate(5)", "{}|urlencode",
    "{}|e", "{}|tojson", "{}|reverse", "{}|first", "{}|last", "{}|center(9)", "{}|int(4)", "{}|float(1.5)", "{}|string", "{}|default('d', true)",
    "{}.swapcase()", "{}.lstrip('A ')", "{}.index('c')", "{}|batch(2)|list", "{}|slice(2)|list", "{}.format(1, a=2)", "{}|format('z')", "{}|wordwrap(4)", "{}.isalpha()", "{} ~ 1.0", "{}|safe", "{}.encode('utf8')", "{}|striptags", "{}.expandtabs(2)", "{}.casefold()",
]
OF_LIST = [
    "{}|join(', ')", "{}|length", "{}|first", "{}|last", "{}|sort", "{}|unique|list", "{}|reverse|list", "{}|tojson", "{}|tojson(indent=2)", "{}", "{}[0]",
    "{}[::-1]", "{}[5:]", "{}|batch(2, 'z')|list", "{}|slice(2)|list", "{}|map('string')|join('|')", "{}|select('string')|list", "{}|reject('none')|list",
    "{}|max", "{}|min", "{}|sum", "{} + ['n']", "{} * 2", "'a' in {}", "{}|string", "{}.index('a')", "{}.count('a')", "{}.append(1)", "{} is sequence", "{} is iterable",
    "{}|list|length", "{}|random", "{} == {}", "{}|sort(reverse=true)", "{}|map('upper')|list", "{}|select|list", "{}|join", "{}|pprint",
]
OF_NUMBER = [
    "{}", "{} + 1", "{}|string", "{}|abs", "{}|round", "{}|round(1)", "{}|int", "{}|float", "{} is odd", "{} is divisibleby(3)", "{}|tojson", "'%5.2f' % {}", "'%03d'|format({}|int)",
    "{} > 2", "1 < {} <= 3", "{} ~ 'x'", "-{}", "{} is number", "{} is integer", "{} is float", "[{}]", "{} == 3.0", "{} // 2", "{} % 4", "{} ** 2", "{}|filesizeformat", "not {}", "{} and 'yes'", "{} or 'no'", "'ab' * {}",
]
OF_DICT = [
    "{}", "{}|tojson", "{}|tojson(indent=1)", "{}.items()|list", "{}|items|list", "{}.keys()|list", "{}.values()|list", "{}.get('k')", "{}.get('z', 'dd')", "{}.k", "{}['k']",
    "'k' in {}", "{}|length", "{}|dictsort", "{}|list", "{} is mapping", "{}|string", "{}.pop('k')", "{}.update(a=1)", "{}.missing is defined", "{}|tojson(sort_keys=true)", "{}|tojson(ensure_ascii=true)",
    "{}|tojson(separators=(',', ':'))", "{}|attr('k')", "{}.missing", "{}.missing.deeper", "{}|xmlattr", "{}|first",
]
STATEMENTS = [
    "{%% for x in %(list)s %%}{{ loop.index }}{{ x }}{{ ',' if not loop.last }}{%% else %%}none{%% endfor %%}",
    "{%% for x in %(list)s if x %%}{{ loop.revindex0 }}{{ loop.previtem }}{{ loop.cycle('o', 'e') }}{%% endfor %%}",
    "{%% for k, v in %(dict)s.items() %%}{{ k }}={{ v }};{%% endfor %%}",
    "{%% set ns = namespace(n=0) %%}{%% for x in %(list)s %%}{%% set ns.n = ns.n + 1 %%}{%% endfor %%}{{ ns.n }}",
    "{%% set a, b = 1, %(text)s %%}{{ b }}{{ a }}",
    "{%% set t %%}  {{ %(text)s }}\n{%% endset %%}[{{ t }}]",
    "{%% macro m(a, b='d') %%}<{{ a }}{{ b }}{{ caller() if caller }}>{%% endmacro %%}{{ m(%(text)s) }}{{ m(1, b=%(number)s) }}",
    "{%% macro w(a) %%}{{ a }}{{ varargs }}{{ kwargs }}{%% endmacro %%}{{ w(1, 2, z=3) }}",
    "{%% if %(text)s is string and %(number)s %%}yes{%% elif %(list)s %%}list{%% else %%}no{%% endif %%}",
    "{%%- if %(number)s > 1 -%%}\n  in  \n{%%- endif %%}\n after",
    "  {%% if true %%}  \n  lstrip\n  {%% endif %%}\n{# a comment #}\nx",
    "{%% raw %%}{{ not }}{%% endraw %%}",
    "{%% filter upper %%}{{ %(text)s }} q{%% endfilter %%}",
    "{%% for x in range(5) %%}{%% if x == 1 %%}{%% continue %%}{%% elif x == 3 %%}{%% break %%}{%% endif %%}{{ x }}{%% endfor %%}",
    "{%% with q = %(number)s %%}{{ q }}{%% endwith %%}",
    "{%% set c = cycler('a', 'b') %%}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}",
    "{%% set j = joiner(' | ') %%}{{ j() }}1{{ j() }}2",
    "{%% for m in messages recursive %%}{{ m.role }}{{ loop.depth }}{%% endfor %%}",
    "{%% for g in messages|groupby('role') %%}{{ g.grouper }}{{ g.list|length }}{%% endfor %%}",
    "{{ messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|join(' ') }}",
    "{{ undefined_thing }}{{ undefined_thing is defined }}{{ undefined_thing|default(%(text)s) }}",
    "{%% if tools %%}{{ tools|tojson }}{%% endif %%}{{ tools is none }}",
    "{%% generation %%}{{ %(text)s }}{%% endgeneration %%}",
    "{%% include 'x' %%}", "{%% do 1 %%}", "{{ lipsum() }}", "{{ self }}", "{{ messages.__class__ }}",
    "{%% call(u) m2() %%}{{ u }}{%% endcall %%}",
    "{{ [%(number)s, %(text)s, %(dict)s] }}{{ (%(text)s, ) }}{{ (%(number)s, true) }}",
    "{%% set x = %(list)s if %(number)s else %(dict)s %%}{{ x }}",
]
LOOPS = [
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + (message['content'] or '') + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "{%- for message in messages -%}\n<|im_start|>{{ message.role }}\n{{ message.content | trim }}<|im_end|>\n{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{%- endif -%}",
]


def expression(rng):
    values, wrappers = rng.choice([(TEXTS, OF_TEXT), (LISTS, OF_LIST), (NUMBERS, OF_NUMBER), (DICTS, OF_DICT)])
    made = rng.choice(wrappers)
    made = made.replace("{}", rng.choice(values)) if rng.random() < 0.5 else made.replace("{}", "(" + rng.choice(values) + ")")
    if rng.random() < 0.2:
        made = f"({made}){rng.choice(['|string', '|tojson', '|list', '|length', ' ~ 1', '|upper', '|default(2)'])}"
    return made


def prefix(rng):
    parts = []
    for _ in range(rng.randint(1, 3)):
        if rng.random() < 0.65:
            left, right = rng.choice(["{{ ", "{{- ", "{{"]), rng.choice([" }}", " -}}", "}}"])
            parts.append(left + expression(rng) + right)
        else:
            parts.append(
                rng.choice(STATEMENTS)
                % {"list": rng.choice(LISTS), "dict": rng.choice(DICTS), "text": rng.choice(TEXTS), "number": rng.choice(NUMBERS)}
            )
        parts.append(rng.choice(["", " ", "\n", "\n\n", "  \n  "]))
    return "".join(parts)


def cases(rng, count, base):
    config = json.loads((base / "tokenizer_config.json").read_text())
    for _ in range(count):
        made = prefix(rng)
        source = made + rng.choice(LOOPS)
        if rng.random() < 0.2:
            source = source.replace("\n", "\r\n")
        if rng.random() < 0.3:
            changes = {"chat_template.jinja": source}
        else:
            changes = {"tokenizer_config.json": json.dumps(config | {"chat_template": source})}
        conversation = [{"role": "user", "content": "what is a lamp?"}, {"role": "assistant", "content": "a lamp gives light."}]
        if rng.random() < 0.3:
            conversation.insert(0, {"role": "system", "content": " be brief "})
        yield Case("template", made, base, changes, [(conversation, None)])
