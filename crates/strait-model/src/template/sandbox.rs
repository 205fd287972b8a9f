//! The Jinja engine on a leash: whatever a template does, it ends soon, in little memory, and reads no file.
//!
//! The engine's own fuel counts instructions, but one instruction can double a string, compare two trees of shared
//! lists or copy the same text a million times. So every instruction that may cost more than a step is redirected to
//! a function here which first charges what it will cost to the rendering's [`Meter`]: operators, comparisons, text
//! sent to the output, filters, tests and Python's methods. What is left is a few natives that cost the same whatever
//! they are given.

use std::{
    collections::HashMap,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Expression, Output, State, Value, context, escape_formatter,
    filters, functions,
    machinery::{
        CompiledTemplate, Instruction, Instructions, Token, Vm, WhitespaceConfig, get_compiled_template,
        make_string_output, tokenize,
    },
    syntax::SyntaxConfig,
    tests,
    value::{Kwargs, Object, Rest, ValueKind},
};
use minijinja_contrib::pycompat;

/// Instructions that one rendering may execute; a message takes about fifty.
const MAX_STEPS: u64 = 500_000;
/// Bytes that one rendering may read, copy and write in its values, counted each time.
pub const MAX_WORK: usize = 1 << 26;
/// Tokens of one expression or tag; long ones in use have a hundred.
pub const MAX_TOKENS: usize = 1_000;
/// What handling one value counts for, in bytes.
const VALUE: usize = 64;
/// Deepest indentation that a filter may ask for.
const MAX_INDENT: usize = 64;
/// Stack of a rendering, in bytes. As many nested values as [`MAX_STEPS`] can build are dropped on it with room to spare.
const STACK: usize = 1 << 28;

/// Why a rendering was stopped from here; the source of the engine's error.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Stop {
    /// The template called `raise_exception`.
    #[error("{0}")]
    Raised(String),
    /// The template handles more text than [`MAX_WORK`].
    #[error("too much work")]
    Work,
}

/// Bytes that the running rendering has handled so far.
#[derive(Debug, Default)]
struct Meter(AtomicUsize);

impl Object for Meter {}

/// An environment with everything that chat templates may use, and nothing else.
pub fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(MAX_STEPS));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(emit);
    environment.set_unknown_method_callback(method);
    for unbounded in ["batch", "chain", "format", "groupby", "lines", "pprint", "slice", "zip"] {
        environment.remove_filter(unbounded);
    }
    environment.remove_global("debug");
    environment.add_global("strait_one", 1);
    add_operators(&mut environment);
    add_functions(&mut environment);
    add_filters(&mut environment);
    add_tests(&mut environment);
    environment
}

/// The source with every multiplication carried out only when the template is rendered, on the meter: of two
/// literals the engine makes the product while it compiles, were it as long as memory.
///
/// # Errors
/// The line of an expression of more than [`MAX_TOKENS`] tokens: the engine's compiler takes the square of their
/// number.
pub fn deferred(source: &str) -> Result<String, usize> {
    let tokens = tokenize(source, false, SyntaxConfig, WhitespaceConfig::default());
    let mut result = String::with_capacity(source.len());
    let mut copied = 0;
    let mut length = 0;
    // A source that is no template is left to the compiler, which says where.
    for (token, span) in tokens.map_while(Result::ok) {
        length += 1;
        match token {
            Token::VariableStart | Token::BlockStart => length = 0,
            Token::Mul => {
                let end = span.end_offset as usize;
                result.push_str(&source[copied..end]);
                result.push_str(" strait_one *");
                copied = end;
            }
            _ if length > MAX_TOKENS => return Err(span.start_line.into()),
            _ => {}
        }
    }
    Ok(result + &source[copied..])
}

/// Renders a template of the environment.
///
/// # Errors
/// The engine's, with a [`Stop`] as its source where the template was stopped from here.
pub fn render(environment: &Environment<'static>, name: &str, context: Value) -> Result<String, Error> {
    let template = environment.get_template(name)?;
    let CompiledTemplate { instructions, blocks, .. } = get_compiled_template(&template);
    let instructions = metered(instructions)?;
    let blocks =
        blocks.iter().map(|(&name, block)| Ok((name, metered(block)?))).collect::<Result<_, Error>>()?;
    let mut text = String::new();
    let mut output = make_string_output(&mut text);
    Vm::new(environment).eval(&instructions, context, &blocks, &mut output, AutoEscape::None)?;
    Ok(text)
}

/// Runs `work` on a stack on which even the deepest values can be built, compared and dropped.
///
/// # Errors
/// If the system has no room for another thread.
pub fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work)?;
        thread.join().or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The same program with the costly instructions replaced by calls to metered functions.
fn metered<'source>(original: &Instructions<'source>) -> Result<Instructions<'source>, Error> {
    let program = || (0..).map_while(|at| original.get(at).zip(Some(original.get_line(at))));
    // Raw text becomes two instructions, so that its output is counted: jumps have to follow.
    let mut moved = vec![0];
    for (instruction, _) in program() {
        let length = if matches!(instruction, Instruction::EmitRaw(_)) { 2 } else { 1 };
        moved.extend(moved.last().map(|start| start + length));
    }
    let target = |old: u32| moved[old as usize];
    let mut result = Instructions::new(original.name(), original.source());
    for (instruction, line) in program() {
        let mut add = |instruction| result.add_with_line(instruction, line.unwrap_or_default() as u16);
        let instruction = match instruction {
            Instruction::EmitRaw(text) => {
                add(Instruction::LoadConst(Value::from(*text)));
                Instruction::Emit
            }
            Instruction::Jump(old) => Instruction::Jump(target(*old)),
            Instruction::Iterate(old) => Instruction::Iterate(target(*old)),
            Instruction::JumpIfFalse(old) => Instruction::JumpIfFalse(target(*old)),
            Instruction::JumpIfFalseOrPop(old) => Instruction::JumpIfFalseOrPop(target(*old)),
            Instruction::JumpIfTrueOrPop(old) => Instruction::JumpIfTrueOrPop(target(*old)),
            Instruction::BuildMacro(name, old, flags) => Instruction::BuildMacro(name, target(*old), *flags),
            Instruction::CompareAndPreserve(_) => {
                return Err(refused("chained comparisons are not supported"));
            }
            Instruction::Include(_) | Instruction::LoadBlocks | Instruction::ExportLocals => {
                return Err(refused("templates that read other templates are not supported"));
            }
            other => match operator(other) {
                Some(name) => Instruction::CallFunction(name, Some(if name == SLICE { 4 } else { 2 })),
                None => other.clone(),
            },
        };
        add(instruction);
    }
    Ok(result)
}

const SLICE: &str = "[:]";

/// The name under which an instruction's metered form is registered: one that no template can write as a name.
fn operator(instruction: &Instruction) -> Option<&'static str> {
    Some(match instruction {
        Instruction::Add => "+",
        Instruction::Mul => "*",
        Instruction::StringConcat => "~",
        Instruction::Slice => SLICE,
        Instruction::Eq => "==",
        Instruction::Ne => "!=",
        Instruction::Gt => ">",
        Instruction::Gte => ">=",
        Instruction::Lt => "<",
        Instruction::Lte => "<=",
        Instruction::In => "in",
        _ => return None,
    })
}

/// The operators themselves, for the engine to carry out once they are paid for.
static OPERATORS: LazyLock<HashMap<&str, Expression<'static, 'static>>> = LazyLock::new(|| {
    static PLAIN: LazyLock<Environment<'static>> = LazyLock::new(Environment::new);
    ["+", "*", "~", "==", "!=", ">", ">=", "<", "<=", "in"]
        .map(|name| (name, format!("a {name} b")))
        .into_iter()
        .chain([(SLICE, "a[b:c:d]".to_string())])
        .filter_map(|(name, source)| Some((name, PLAIN.compile_expression_owned(source).ok()?)))
        .collect()
});

fn add_operators(environment: &mut Environment) {
    for (&name, expression) in OPERATORS.iter() {
        environment.add_function(name, move |state: &State, operands: Rest<Value>| -> Result<Value, Error> {
            let [a, b, rest @ ..] = &operands[..] else {
                return Err(refused("an operator needs two operands"));
            };
            charge(
                state,
                match name {
                    "+" | SLICE => surface(a).saturating_add(surface(b)),
                    "*" => product(a, b),
                    _ => whole(a).saturating_add(whole(b)),
                },
            )?;
            match (name, a.as_str(), b.as_str()) {
                // By far the most frequent case, and the one place where the engine would be slow.
                ("+" | "~", Some(a), Some(b)) => Ok(Value::from([a, b].concat())),
                ("==", Some(a), Some(b)) => Ok(Value::from(a == b)),
                ("~", ..) => expression.eval(context!(a => spoken(a), b => spoken(b))),
                _ => expression.eval(context!(a, b, c => rest.first(), d => rest.get(1))),
            }
        });
    }
}

/// What the repetition of a text or list costs.
fn product(a: &Value, b: &Value) -> usize {
    let times = |n: &Value| n.as_usize().unwrap_or(1);
    surface(a).saturating_mul(times(b)).max(surface(b).saturating_mul(times(a)))
}

fn add_functions(environment: &mut Environment) {
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(stopped(Stop::Raised(message)))
    });
    environment.add_function("strftime_now", strftime_now);
    environment.add_function(
        "range",
        |state: &State, lower: isize, upper: Option<isize>, step: Option<isize>| -> Result<Value, Error> {
            // As a list, whose items are at hand; the engine's range walks to each one that it is asked for.
            let items = functions::range(lower, upper, step)?;
            charge(state, whole(&items))?;
            Ok(items.try_iter()?.collect())
        },
    );
    let dict = Value::from_function(functions::dict);
    environment.add_function("dict", move |state: &State, arguments: Rest<Value>| {
        metered_call(state, &dict, &arguments)
    });
}

fn add_filters(environment: &mut Environment) {
    let costly = [
        ("capitalize", Value::from_function(filters::capitalize)),
        ("dictsort", Value::from_function(filters::dictsort)),
        ("e", Value::from_function(filters::escape)),
        ("escape", Value::from_function(filters::escape)),
        ("list", Value::from_function(filters::list)),
        ("lower", Value::from_function(filters::lower)),
        ("map", Value::from_function(filters::map)),
        ("max", Value::from_function(filters::max)),
        ("min", Value::from_function(filters::min)),
        ("reject", Value::from_function(filters::reject)),
        ("rejectattr", Value::from_function(filters::rejectattr)),
        ("reverse", Value::from_function(filters::reverse)),
        ("select", Value::from_function(filters::select)),
        ("selectattr", Value::from_function(filters::selectattr)),
        ("sort", Value::from_function(filters::sort)),
        ("split", Value::from_function(filters::split)),
        ("string", Value::from_function(|value: &Value| spoken(value).to_string())),
        ("sum", Value::from_function(filters::sum)),
        ("title", Value::from_function(filters::title)),
        ("trim", Value::from_function(filters::trim)),
        ("unique", Value::from_function(filters::unique)),
        ("upper", Value::from_function(filters::upper)),
    ];
    for (name, filter) in costly {
        environment.add_filter(name, move |state: &State, arguments: Rest<Value>| {
            metered_call(state, &filter, &arguments)
        });
    }
    let native = Value::from_function(filters::replace);
    environment.add_filter("replace", move |state: &State, arguments: Rest<Value>| {
        charge_replacement(state, &arguments)?;
        metered_call(state, &native, &arguments)
    });
    let native = Value::from_function(filters::join);
    environment.add_filter("join", move |state: &State, arguments: Rest<Value>| {
        charge_join(state, arguments.first(), arguments.get(1))?;
        metered_call(state, &native, &arguments)
    });
    let native = Value::from_function(filters::indent);
    environment.add_filter("indent", move |state: &State, arguments: Rest<Value>| {
        let lines = arguments.first().and_then(Value::as_str).map_or(0, |text| text.lines().count() + 1);
        charge(state, lines * MAX_INDENT)?;
        let keyword = arguments.last().and_then(|kwargs| kwargs.get_attr("width").ok());
        let widths = arguments.iter().skip(1).chain(&keyword).filter_map(Value::as_i64);
        if widths.into_iter().any(|width| width > MAX_INDENT as i64) {
            return Err(refused("an indentation that wide is not supported"));
        }
        metered_call(state, &native, &arguments)
    });
    environment.add_filter("tojson", tojson);
}

fn add_tests(environment: &mut Environment) {
    let costly = [
        (&["==", "eq", "equalto"][..], Value::from_function(tests::is_eq)),
        (&["!=", "ne"], Value::from_function(tests::is_ne)),
        (&["<", "lt", "lessthan"], Value::from_function(tests::is_lt)),
        (&["<=", "le"], Value::from_function(tests::is_le)),
        (&[">", "gt", "greaterthan"], Value::from_function(tests::is_gt)),
        (&[">=", "ge"], Value::from_function(tests::is_ge)),
        (&["in"], Value::from_function(tests::is_in)),
        (&["startingwith"], Value::from_function(tests::is_startingwith)),
        (&["endingwith"], Value::from_function(tests::is_endingwith)),
    ];
    for (names, test) in costly {
        for name in names {
            let test = test.clone();
            environment.add_test(*name, move |state: &State, arguments: Rest<Value>| {
                metered_call(state, &test, &arguments).map(|answer| answer.is_true())
            });
        }
    }
    // In Python a text is a sequence too, and so is whatever has a length.
    environment.add_test("sequence", |value: &Value| value.len().is_some());
}

/// A method of Python's texts, dictionaries and lists.
fn method(state: &State, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    match (value.kind(), name) {
        (ValueKind::Map, "get" | "items" | "keys" | "values") => {
            return pycompat::unknown_method_callback(state, value, name, arguments);
        }
        (_, "format") => return Err(refused("`format` is not supported")),
        (ValueKind::String, "replace") => {
            charge_replacement(state, &[std::slice::from_ref(value), arguments].concat())?;
        }
        (ValueKind::String, "join") => charge_join(state, arguments.first(), Some(value))?,
        _ => {}
    }
    charge(state, arguments.iter().map(whole).fold(whole(value), usize::saturating_add))?;
    let result = pycompat::unknown_method_callback(state, value, name, arguments)?;
    charge(state, surface(&result))?;
    Ok(result)
}

/// Writes a value to the output as Python would print it.
fn emit(output: &mut Output, state: &State, value: &Value) -> Result<(), Error> {
    charge(state, whole(value))?;
    match value.as_str() {
        Some(text) => output.write_str(text).map_err(Error::from),
        None => escape_formatter(output, state, &spoken(value)),
    }
}

/// `true`, `false` and `none` as Python writes them; anything else as it is.
fn spoken(value: &Value) -> Value {
    match value.kind() {
        ValueKind::Bool if value.is_true() => Value::from("True"),
        ValueKind::Bool => Value::from("False"),
        ValueKind::None => Value::from("None"),
        _ => value.clone(),
    }
}

/// Calls an engine's function, charging all that it is given and the size of what it gives back.
fn metered_call(state: &State, function: &Value, arguments: &[Value]) -> Result<Value, Error> {
    charge(state, arguments.iter().map(whole).fold(0, usize::saturating_add))?;
    let result = function.call(state, arguments)?;
    charge(state, surface(&result))?;
    Ok(result)
}

/// Charges the text that `text, old, new` grows to.
fn charge_replacement(state: &State, arguments: &[Value]) -> Result<(), Error> {
    let [Some(text), Some(old), Some(new)] = [0, 1, 2].map(|i| arguments.get(i).and_then(Value::as_str))
    else {
        return Err(refused("`replace` needs three texts"));
    };
    charge(state, text.len())?;
    charge(state, text.matches(old).count().saturating_mul(new.len()))
}

/// Charges the separators between a list's items.
fn charge_join(state: &State, items: Option<&Value>, separator: Option<&Value>) -> Result<(), Error> {
    let items = items.map_or(0, whole) / VALUE;
    charge(state, items.saturating_mul(separator.map_or(0, surface)))
}

/// `json.dumps` as transformers calls it: nothing escaped beyond what JSON asks for, a space after `,` and `:`.
fn tojson(state: &State, value: Value, indent: Option<usize>, options: Kwargs) -> Result<String, Error> {
    let indent = indent.or(options.get("indent")?);
    for ignored in ["ensure_ascii", "separators", "sort_keys"] {
        if options.has(ignored) {
            return Err(refused("`tojson` takes `indent` and no other option here"));
        }
    }
    options.assert_all_used()?;
    let indent = match indent {
        Some(width) if width > MAX_INDENT => {
            return Err(refused("an indentation that wide is not supported"));
        }
        Some(width) => Some(" ".repeat(width)),
        None => None,
    };
    charge(state, whole(&value).saturating_mul(1 + indent.as_ref().map_or(0, String::len)))?;
    let mut text = Vec::new();
    let written = match &indent {
        Some(indent) => {
            let format = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
            serde::Serialize::serialize(
                &value,
                &mut serde_json::Serializer::with_formatter(&mut text, format),
            )
        }
        None => serde::Serialize::serialize(
            &value,
            &mut serde_json::Serializer::with_formatter(&mut text, Spaced),
        ),
    };
    written.map_err(|e| refused("a value that JSON cannot hold").with_source(e))?;
    String::from_utf8(text).map_err(|e| refused("text that is not Unicode").with_source(e))
}

/// JSON on one line with Python's spaces.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

/// "Now" for templates that put the date into the system prompt: always noon of 26 July 2024, the date which such
/// templates fall back to, since a study must give the same tokens on every day.
fn strftime_now(format: &str) -> Result<String, Error> {
    let mut text = String::new();
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        text.push_str(match rest.next() {
            Some('d') => "26",
            Some('m') => "07",
            Some('b') => "Jul",
            Some('B') => "July",
            Some('y') => "24",
            Some('Y') => "2024",
            Some('a') => "Fri",
            Some('A') => "Friday",
            Some('j') => "208",
            Some('H' | 'I') => "12",
            Some('M' | 'S') => "00",
            Some('p') => "PM",
            Some('%') => "%",
            _ => return Err(refused("`strftime_now` with a directive that is not supported")),
        });
    }
    Ok(text)
}

/// Cost of a value without what lies in it, in bytes.
fn surface(value: &Value) -> usize {
    match value.as_str() {
        Some(text) => text.len(),
        None => VALUE.saturating_mul(1 + value.len().unwrap_or(0)),
    }
}

/// Cost of a value with all that lies in it, in bytes, counted as often as it lies there; a little more than
/// [`MAX_WORK`] where it is more, since lists that share their items can be exponentially large.
fn whole(value: &Value) -> usize {
    let mut cost = 0;
    let mut left = vec![value.clone()];
    while let Some(value) = left.pop() {
        cost += surface(&value).min(MAX_WORK + VALUE);
        if cost > MAX_WORK {
            break;
        }
        if let Some(pairs) = value.as_object().and_then(|object| object.try_iter_pairs()) {
            left.extend(pairs.map(|(_, item)| item).take(MAX_WORK / VALUE));
        }
    }
    cost
}

/// Charges bytes to the running rendering.
fn charge(state: &State, bytes: usize) -> Result<(), Error> {
    let meter = state.get_or_set_temp_object("strait.meter", Meter::default);
    // Once over the limit the count may wrap no more: a rendering ends at its first refusal.
    let before = meter.0.fetch_add(bytes.min(MAX_WORK + 1), Ordering::Relaxed);
    if before.saturating_add(bytes) > MAX_WORK {
        return Err(stopped(Stop::Work));
    }
    Ok(())
}

fn stopped(stop: Stop) -> Error {
    Error::new(ErrorKind::InvalidOperation, stop.to_string()).with_source(stop)
}

fn refused(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}
