//! Tokenizers from folders and from GGUF files, and conversations with the places of their responses.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use strait_model::{
    Conversation, Error, Gguf, Message, Role, Tokenizer,
    gguf::{Array, Value},
    template::Problem,
    tokenizer,
};
use tempfile::TempDir;

use crate::common::{File, problem_of, real_model};

const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}\
                      {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
/// Types of tokens in GGUF files.
const NORMAL: u64 = 1;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;
const BYTE: u64 = 6;

/// The character that stands for a byte in the vocabularies of byte-level tokenizers.
fn byte_character(byte: u8) -> char {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    if printable(byte) {
        return byte.into();
    }
    let before = (0..byte).filter(|&b| !printable(b)).count() as u32;
    char::from_u32(256 + before).unwrap()
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(String::from).into()
}

/// A vocabulary as a GGUF file holds it: texts with their types.
type Vocabulary = Vec<(String, u64)>;

/// Every byte, a few merged pieces, and ChatML's special tokens: ids 0 to 255, then these.
fn byte_level_vocabulary() -> Vocabulary {
    let bytes = (0..=255).map(|b| (byte_character(b).to_string(), NORMAL));
    let merged =
        ["Ġa", "he", "ll", "hell", "Ġhell", "12", "123", "ĠĠ", "ĊĊ"].map(|t| (t.to_string(), NORMAL));
    let added = [("<|im_start|>", CONTROL), ("<|im_end|>", CONTROL), ("<tool>", USER_DEFINED)]
        .map(|(t, k)| (t.into(), k));
    bytes.chain(merged).chain(added).collect()
}

fn byte_level_merges() -> Vec<String> {
    texts(["Ġ a", "h e", "l l", "he ll", "Ġ hell", "1 2", "12 3", "Ġ Ġ", "Ċ Ċ"])
}

const IM_END: u64 = 266;

/// A file with these tokens and their types.
fn with_vocabulary(vocabulary: Vocabulary) -> File {
    let (tokens, types): (Vec<_>, Vec<_>) = vocabulary.into_iter().unzip();
    File::new()
        .with("tokenizer.ggml.tokens", Value::Array(Array::Text(tokens)))
        .with("tokenizer.ggml.token_type", Value::Array(Array::Unsigned(types)))
}

/// A byte-level tokenizer's file.
fn byte_level(pre: &str) -> File {
    with_vocabulary(byte_level_vocabulary())
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", pre)
        .with("tokenizer.ggml.merges", Value::Array(Array::Text(byte_level_merges())))
        .number("tokenizer.ggml.eos_token_id", IM_END)
        .with("tokenizer.ggml.add_bos_token", Value::Boolean(false))
}

/// The pieces of a SentencePiece tokenizer after its three control tokens and 256 bytes, with their scores.
const PIECES: [(&str, f64); 14] = [
    ("▁h", 0.0),
    ("el", -1.0),
    ("lo", -2.0),
    ("▁hel", -3.0),
    ("▁hello", -4.0),
    ("▁", -5.0),
    ("h", -6.0),
    ("e", -7.0),
    ("l", -8.0),
    ("o", -9.0),
    ("é", -10.0),
    ("▁▁", -1000.0),
    ("<tag>", -1000.0),
    ("\n", -1000.0),
];
const FIRST_PIECE: u32 = 259;

/// A SentencePiece tokenizer's file.
fn sentence_piece() -> File {
    let control = ["<unk>", "<s>", "</s>"].map(|t| (t.to_string(), if t == "<unk>" { 2 } else { CONTROL }));
    let bytes = (0..=255).map(|b| (format!("<0x{b:02X}>"), BYTE));
    let pieces = PIECES.map(|(piece, score)| {
        // Converters write spaces into pieces that users defined.
        if score == -1000.0 { (piece.replace('▁', " "), USER_DEFINED) } else { (piece.into(), NORMAL) }
    });
    let scores = [0.0; FIRST_PIECE as usize].into_iter().chain(PIECES.map(|(_, score)| score)).collect();
    with_vocabulary(control.into_iter().chain(bytes).chain(pieces).collect())
        .text("tokenizer.ggml.model", "llama")
        .with("tokenizer.ggml.scores", Value::Array(Array::Float(scores)))
        .number("tokenizer.ggml.bos_token_id", 1)
        .number("tokenizer.ggml.eos_token_id", 2)
        .number("tokenizer.ggml.unknown_token_id", 0)
}

fn try_gguf(file: &File) -> Result<Tokenizer, Error> {
    let folder = TempDir::new().unwrap();
    let path = file.save(&folder);
    Tokenizer::from_gguf(&path, &Gguf::open(&path).unwrap())
}

fn gguf(file: &File) -> Tokenizer {
    try_gguf(file).unwrap_or_else(|e| panic!("{e}; {:?}", e.hint()))
}

/// The problem in an error, after a look at whether its message and remedy are fit to print.
#[track_caller]
fn problem<T, P: strait_model::error::Problem>(result: Result<T, Error>) -> P {
    let error = result.err().expect("an error");
    let message = error.to_string();
    assert!(message.starts_with('`') && !message.ends_with('.') && !message.contains('\n'), "{message}");
    assert!(error.hint().is_some_and(|hint| !hint.is_empty()));
    problem_of(error)
}

fn chat(turns: &[(Role, &str)]) -> Conversation {
    turns.iter().map(|&(role, content)| Message::new(role, content)).collect::<Vec<_>>().into()
}

use Role::{Assistant, System, User};

// ---- cutting text into tokens

#[track_caller]
fn check_tokens(tokenizer: &Tokenizer, text: &str, expected: &[&str]) {
    let ids = tokenizer.encode(text, false).unwrap();
    let tokens: Vec<_> = ids.iter().map(|&id| tokenizer.decode(&[id], false).unwrap()).collect();
    assert_eq!(tokens, expected, "{text:?}");
}

#[test]
fn each_family_cuts_digits_and_spaces_its_own_way() {
    for pre in ["gpt-2", "default"] {
        check_tokens(&gguf(&byte_level(pre)), "1234  hello", &["123", "4", " ", " hell", "o"]);
    }
    check_tokens(&gguf(&byte_level("smollm")), "12  hell 1", &["1", "2", " ", " hell", " ", "1"]);
    check_tokens(&gguf(&byte_level("smollm")), "a  1", &["a", "  ", "1"]);
    check_tokens(&gguf(&byte_level("gpt-2")), "a  1", &["a", " ", " ", "1"]);
    check_tokens(&gguf(&byte_level("llama-bpe")), "1234  a\n\n", &["123", "4", " ", " a", "\n\n"]);
    check_tokens(&gguf(&byte_level("qwen2")), "1234 a\n\n", &["1", "2", "3", "4", " a", "\n\n"]);
    // Qwen's files may leave the name out; the architecture tells.
    let mut unnamed = byte_level("").text("general.architecture", "qwen2");
    unnamed.entries.retain(|entry| entry.key != "tokenizer.ggml.pre");
    check_tokens(&gguf(&unnamed), "12", &["1", "2"]);
}

#[test]
fn qwen_composes_characters_first() {
    let tokenizer = gguf(&byte_level("qwen2"));
    assert_eq!(tokenizer.encode("e\u{301}", false).unwrap(), tokenizer.encode("é", false).unwrap());
}

#[test]
fn added_tokens_are_found_in_text_and_only_special_ones_are_skipped() {
    let tokenizer = gguf(&byte_level("smollm"));
    let ids = tokenizer.encode("a<tool><|im_end|>", false).unwrap();
    assert_eq!(ids, [u32::from(b'a'), 267, 266]);
    assert_eq!(tokenizer.decode(&ids, false).unwrap(), "a<tool><|im_end|>");
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), "a<tool>");
    assert_eq!(tokenizer.vocab_size(), 268);
    assert_eq!(tokenizer.decode(&[9999], false).unwrap(), "");
}

#[test]
fn pieces_merge_in_the_order_of_their_scores() {
    let piece = |name: &str| FIRST_PIECE + PIECES.iter().position(|(p, _)| *p == name).unwrap() as u32;
    let tokenizer = gguf(&sentence_piece());
    let ids = |text: &str| tokenizer.encode(text, false).unwrap();
    assert_eq!(ids("hello"), [piece("▁hello")]);
    assert_eq!(ids("hel"), [piece("▁hel")]);
    // `el` before `lo`, then `▁h` and `el`; the second `l` finds no partner.
    assert_eq!(ids("hell"), [piece("▁hel"), piece("l")]);
    assert_eq!(ids("hello  é"), [piece("▁hello"), piece("▁▁"), piece("é")]);
    // Bytes where there is no piece.
    assert_eq!(ids("ü")[1..], [3 + 0xC3, 3 + 0xBC]);
    assert_eq!(ids("h<tag>\n")[1..], [piece("<tag>"), piece("\n")]);
    assert_eq!(tokenizer.decode(&ids("hello  éü"), false).unwrap(), "hello  éü");
}

#[test]
fn begin_and_end_are_added_where_the_file_asks_for_them() {
    let count = |file: File, text: &str| gguf(&file).encode(text, true).unwrap();
    assert_eq!(count(sentence_piece(), "hello"), [1, FIRST_PIECE + 4]);
    let add = |key: &str, truth| sentence_piece().with(key, Value::Boolean(truth));
    assert_eq!(count(add("tokenizer.ggml.add_bos_token", false), "hello"), [FIRST_PIECE + 4]);
    assert_eq!(count(add("tokenizer.ggml.add_eos_token", true), "hello"), [1, FIRST_PIECE + 4, 2]);
    assert_eq!(
        count(add("tokenizer.ggml.add_space_prefix", false), "hel")[1..],
        [FIRST_PIECE + 6, FIRST_PIECE + 1]
    );
    let mut unsaid = byte_level("llama-bpe").number("tokenizer.ggml.bos_token_id", 265);
    unsaid.entries.retain(|entry| entry.key != "tokenizer.ggml.add_bos_token");
    assert_eq!(count(unsaid.clone(), "a"), [265, u32::from(b'a')], "Llama 3 begins its texts");
    assert_eq!(gguf(&unsaid).bos(), Some(265));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_decodes_to_itself(text in any::<String>(), more in "[ \\t\\n\\ra-e1-3é漢🙂'<|>]{0,40}") {
        let text = text + &more;
        for pre in ["gpt-2", "smollm", "llama-bpe"] {
            let tokenizer = gguf(&byte_level(pre));
            let ids = tokenizer.encode(&text, false).unwrap();
            prop_assert_eq!(&tokenizer.decode(&ids, false).unwrap(), &text);
            prop_assert_eq!(streamed(&tokenizer, &ids), tokenizer.decode(&ids, true).unwrap());
        }
        let tokenizer = gguf(&sentence_piece().with("tokenizer.ggml.add_space_prefix", Value::Boolean(false)));
        let ids = tokenizer.encode(&text, false).unwrap();
        if !text.contains('▁') {
            prop_assert_eq!(&tokenizer.decode(&ids, false).unwrap(), &text);
            let decoded = tokenizer.decode(&ids, true).unwrap();
            prop_assert!(text.contains(char::REPLACEMENT_CHARACTER) || streamed(&tokenizer, &ids) == decoded);
        }
    }

    #[test]
    fn any_ids_can_be_streamed(ids in prop::collection::vec(0u32..300, 0..40)) {
        let tokenizer = gguf(&byte_level("smollm"));
        prop_assert_eq!(streamed(&tokenizer, &ids), tokenizer.decode(&ids, true).unwrap());
        // Whatever it is, it comes without an error.
        streamed(&gguf(&sentence_piece()), &ids);
    }
}

// ---- decoding piece by piece

fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut stream = tokenizer.stream();
    let text: String = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
    text + &stream.finish().unwrap()
}

#[test]
fn a_stream_gives_whole_characters() {
    for tokenizer in [gguf(&byte_level("smollm")), gguf(&sentence_piece())] {
        let mut stream = tokenizer.stream();
        let ids = tokenizer.encode("ü🙂 h", false).unwrap();
        let pieces: Vec<_> = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
        let given: Vec<_> = pieces.iter().filter(|piece| !piece.is_empty()).map(String::as_str).collect();
        assert!(given == ["ü", "🙂", " ", "h"] || given == ["ü", "🙂", " h"], "{pieces:?}");
        assert_eq!(stream.finish().unwrap(), "");
    }
}

#[test]
fn a_stream_gives_broken_bytes_in_the_end() {
    let tokenizer = gguf(&byte_level("smollm"));
    let mut stream = tokenizer.stream();
    assert_eq!(stream.push(0xF0).unwrap(), "");
    assert_eq!(stream.push(0x9F).unwrap(), "");
    assert_eq!(stream.finish().unwrap(), "\u{FFFD}");
    assert_eq!(streamed(&tokenizer, &[0xF0, 0xF0, 0xF0, 0xF0, 0xF0]).chars().count(), 5);
    assert_eq!(streamed(&tokenizer, &[b'a'.into(), 266, 266, b' '.into(), b'b'.into()]), "a b");
}

// ---- conversations

#[test]
fn a_response_is_all_that_follows_the_generation_prompt() {
    let tokenizer = gguf(&byte_level("smollm").text("tokenizer.chat_template", CHATML));
    let messages =
        chat(&[(System, "s"), (User, "a"), (Assistant, "hello"), (User, "b"), (Assistant, "c"), (User, "d")]);
    let encoded = tokenizer.encode_chat(&messages).unwrap();
    let text = |range: std::ops::Range<usize>| tokenizer.decode(&encoded.ids[range], false).unwrap();
    assert_eq!(text(0..encoded.ids.len()), tokenizer.render(&messages, false).unwrap());
    let responses: Vec<_> = encoded.responses.iter().cloned().map(text).collect();
    assert_eq!(responses, ["hello<|im_end|>\n", "c<|im_end|>\n"]);
    for (turn, response) in [2, 4].into_iter().zip(&encoded.responses) {
        assert_eq!(
            encoded.ids[..response.start],
            tokenizer.encode_prompt(&messages.messages[..turn].into()).unwrap()
        );
    }
    assert_eq!(tokenizer.end_tokens(), [266]);
}

#[test]
fn a_token_across_the_border_belongs_to_the_response() {
    let tokenizer = gguf(&byte_level("qwen2").text("tokenizer.chat_template", CHATML));
    let encoded = tokenizer.encode_chat(&chat(&[(User, "a"), (Assistant, "\nb")])).unwrap();
    assert_eq!(
        tokenizer.decode(&encoded.ids[encoded.responses[0].clone()], false).unwrap(),
        "\n\nb<|im_end|>\n"
    );
}

#[test]
fn offsets_hold_where_the_text_is_normalised() {
    for file in [byte_level("qwen2"), sentence_piece()] {
        let template = "{% for m in messages %}<s>{{ m.role }} {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<s>assistant {% endif %}";
        let tokenizer = gguf(&file.text("tokenizer.chat_template", template));
        let messages = chat(&[
            (User, "e\u{301}  é ▁🙂"),
            (Assistant, "hello e\u{301}\u{301} ü"),
            (User, "é"),
            (Assistant, "é"),
        ]);
        let encoded = tokenizer.encode_chat(&messages).unwrap();
        let response = &encoded.ids[encoded.responses[0].clone()];
        assert_eq!(
            tokenizer.decode(response, true).unwrap().trim(),
            tokenizer.decode(&tokenizer.encode("hello e\u{301}\u{301} ü", false).unwrap(), true).unwrap()
        );
        assert!(
            encoded.responses[0].end < encoded.responses[1].start
                && encoded.responses[1].end == encoded.ids.len()
        );
    }
}

#[test]
fn the_end_of_a_turn_is_learnt_from_the_template() {
    let mut file = byte_level("smollm").text("tokenizer.chat_template", CHATML);
    file.entries.retain(|entry| entry.key != "tokenizer.ggml.eos_token_id");
    assert_eq!(gguf(&file).end_tokens(), [266]);
    let file = file.number("tokenizer.ggml.eos_token_id", 0).number("tokenizer.ggml.eot_token_id", 265);
    assert_eq!(gguf(&file).end_tokens(), [0, 265, 266]);
}

#[test]
fn conversations_that_do_not_fit_are_refused() {
    let tokenizer = gguf(&byte_level("smollm").text("tokenizer.chat_template", CHATML));
    let refused = |turns: &[(Role, &str)]| problem(tokenizer.encode_chat(&chat(turns)));
    assert!(matches!(refused(&[]), Problem::NoAssistant));
    assert!(matches!(refused(&[(User, "a")]), Problem::NoAssistant));
    // Whether a system message may come late is the template's to say.
    let late = chat(&[(User, "a"), (System, "b"), (Assistant, "c")]);
    assert_eq!(tokenizer.encode_chat(&late).unwrap().responses.len(), 1);
    assert!(matches!(problem(tokenizer.render(&Conversation::default(), true)), Problem::NoMessages));
    assert!(matches!(problem(tokenizer.encode_prompt(&Conversation::default())), Problem::NoMessages));
}

#[test]
fn base_models_take_plain_text_only() {
    let tokenizer = gguf(&sentence_piece());
    assert!(!tokenizer.has_chat_template());
    let result = tokenizer.encode_chat(&chat(&[(User, "a"), (Assistant, "b")]));
    assert!(result.as_ref().unwrap_err().hint().unwrap().contains("base model"));
    assert!(matches!(problem(result), Problem::NoTemplate));
    assert_eq!(tokenizer.encode("hello", true).unwrap().len(), 2);
}

fn with_template(template: &str) -> Tokenizer {
    gguf(&byte_level("smollm").text("tokenizer.chat_template", template))
}

/// The texts of the responses, and the messages left out.
fn responses(tokenizer: &Tokenizer, conversation: &Conversation) -> (Vec<String>, Vec<usize>) {
    let encoded = tokenizer.encode_chat(conversation).unwrap();
    let text = |range: &std::ops::Range<usize>| tokenizer.decode(&encoded.ids[range.clone()], false).unwrap();
    (encoded.responses.iter().map(text).collect(), encoded.left_out)
}

#[test]
fn turns_that_the_template_writes_otherwise_later_are_left_out() {
    let two_turns = chat(&[(User, "a"), (Assistant, "b"), (User, "c"), (Assistant, "d")]);
    // Drops the thoughts of earlier turns, as reasoning models do.
    let thinking = with_template(
        "{% for m in messages %}{% if loop.last and m.role == 'assistant' %}<think>{% endif %}{{ m.content }}{% endfor %}",
    );
    assert_eq!(responses(&thinking, &two_turns), (vec!["<think>d".into()], vec![2]));
    let last_question = "{%- set ns = namespace(last=-1) %}{%- for m in messages %}{%- if m.role == 'user' %}\
        {%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}{%- for m in messages %}{{- '<|im_start|>' + m.role + '\n' }}\
        {%- if m.role == 'assistant' and loop.index0 > ns.last %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}\
        {{- m.content + '<|im_end|>\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}";
    let qwen = with_template(last_question);
    let last = "<think>\n\n</think>\n\nd<|im_end|>\n".to_string();
    assert_eq!(responses(&qwen, &two_turns), (vec![last.clone()], vec![2]));
    // Two answers after one question are both written whole.
    let together = chat(&[(User, "a"), (Assistant, "b"), (Assistant, "d")]);
    let first = last.replace("\n\nd<", "\n\nb<");
    assert_eq!(responses(&qwen, &together), (vec![first, last], vec![]));
    // Where no answer is left there is nothing to learn from.
    let ends_with_question = chat(&[(User, "a"), (Assistant, "b"), (User, "c")]);
    let rewritten = problem(qwen.encode_chat(&ends_with_question));
    assert!(matches!(rewritten, Problem::Rewritten { message: 2, .. }), "{rewritten}");
    // An end that only the last message has, where no answer is asked for.
    let end = with_template(
        "{% for m in messages %}{{ m.content }}{% endfor %}{% if not add_generation_prompt %}<|im_end|>{% endif %}",
    );
    assert_eq!(responses(&end, &two_turns), (vec!["d<|im_end|>".into()], vec![2]));
    // With it, and with words that answers drop.
    let opened = with_template(
        "{% for m in messages %}{{ '|' + m.content }}{% endfor %}{{ '|<think>' if add_generation_prompt else '<|im_end|>' }}",
    );
    assert_eq!(responses(&opened, &two_turns), (vec!["d<|im_end|>".into()], vec![2]));
    // Before an answer stands an end that the model would be asked with, and that is gone once the answer is there.
    let ended =
        with_template("{% for m in messages %}{{ m.content }}{% if loop.last %}.{% endif %}{% endfor %}");
    assert!(matches!(problem(ended.encode_chat(&two_turns)), Problem::Rewritten { message: 2, .. }));
}

#[test]
fn a_prompt_that_the_conversation_does_not_have_ends_where_contents_part() {
    let two_turns = chat(&[(User, "a"), (Assistant, "b"), (User, "c"), (Assistant, "d")]);
    let opening = with_template(
        "{% for m in messages %}{{ m.content }};{% endfor %}{% if add_generation_prompt %}think{% endif %}",
    );
    assert_eq!(responses(&opening, &two_turns), (vec!["b;".into(), "d;".into()], vec![]));
    // Drops what stands before `</think>`; answers may begin like the words that the prompt has more.
    let distilled = with_template(
        "{% for m in messages %}{% if m.role == 'user' %}{{ '<|im_start|>' + m.content }}{% else %}\
         {{ '<|im_end|>' + m.content.split('</think>')[-1] + '<|im_end|>' }}{% endif %}{% endfor %}\
         {% if add_generation_prompt %}{{ '<|im_end|><think>\n' }}{% endif %}",
    );
    for (said, written) in
        [("b", "b"), ("<b>", "<b>"), ("<think>t</think>b", "b"), ("<think>", "<think>"), ("x", "x"), ("", "")]
    {
        let one = chat(&[(User, "a"), (Assistant, said)]);
        assert_eq!(responses(&distilled, &one), (vec![format!("{written}<|im_end|>")], vec![]), "{said}");
        let two = chat(&[(User, "a"), (Assistant, said), (User, "c"), (Assistant, said)]);
        assert_eq!(responses(&distilled, &two).0, [&*format!("{written}<|im_end|>"); 2], "{said}");
    }
}

#[test]
fn rows_may_begin_with_the_assistant() {
    let row = chat(&[(Assistant, "b"), (User, "a"), (Assistant, "d")]);
    let expected = (vec!["b<|im_end|>\n".into(), "d<|im_end|>\n".into()], vec![]);
    assert_eq!(responses(&with_template(CHATML), &row), expected);
    // With a system message of the template's own, which reads the first message.
    let own = format!(
        "{{% if messages[0].role != 'system' %}}{{{{ '<|im_start|>system\nassistant<|im_end|>\n' }}}}{{% endif %}}{CHATML}"
    );
    assert_eq!(responses(&with_template(&own), &row), expected);
    // What opens an answer belongs to it where the prompt does not have it.
    let opened = CHATML.replace("+ m.content", "+ (m.role == 'assistant' and '<t>' or '') + m.content");
    assert_eq!(responses(&with_template(&opened), &row).0, ["<t>b<|im_end|>\n", "<t>d<|im_end|>\n"]);
    // Nothing can be asked for before the first token of all.
    let bare = with_template("{% for m in messages %}{{ m.content }}{% endfor %}");
    assert_eq!(responses(&bare, &chat(&[(Assistant, "bcd")])).0, ["cd"]);
    let strict = with_template(
        "{% if messages[0].role == 'assistant' %}{{ raise_exception('user first') }}{% endif %}",
    );
    assert!(
        matches!(problem(strict.encode_chat(&row)), Problem::Refused { message } if message == "user first")
    );
}

#[test]
fn turns_that_are_not_to_be_trained_on_are_no_responses() {
    let tokenizer = with_template(CHATML);
    let mut row = chat(&[(User, "a"), (Assistant, "b"), (User, "c"), (Assistant, "d")]);
    row.messages[1].trained = false;
    assert_eq!(responses(&tokenizer, &row), (vec!["d<|im_end|>\n".into()], vec![]));
    row.messages[3].trained = false;
    let error = tokenizer.encode_chat(&row).unwrap_err();
    assert!(
        error.to_string().contains("no assistant turn of the conversation is to be trained on"),
        "{error}"
    );
}

#[test]
fn templates_may_refuse_or_forget_turns() {
    let two_turns = chat(&[(User, "a"), (Assistant, "b"), (User, "c"), (Assistant, "d")]);
    let silent = with_template(
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}",
    );
    let found = problem(silent.encode_chat(&two_turns));
    assert!(
        matches!(found, Problem::EmptyResponse { message: 2 } | Problem::Rewritten { message: 2, .. }),
        "{found}"
    );
    let strict = with_template(
        "{% if messages|length > 2 %}{{ raise_exception('too long') }}{% endif %}{{ messages[-1].content }}",
    );
    assert!(
        matches!(problem(strict.encode_chat(&two_turns)), Problem::Refused { message } if message == "too long")
    );
}

#[test]
fn rows_that_are_too_long_are_refused_at_once() {
    let tokenizer = with_template(CHATML);
    let turns: Vec<_> = (0..20_000).flat_map(|_| [(User, "a"), (Assistant, "b")]).collect();
    let (row, start) = (chat(&turns), Instant::now());
    let error = tokenizer.encode_chat_within(&row, 1000).unwrap_err();
    assert!(
        matches!(error, Error::TooLong { context: 1000, .. }) || error.to_string().contains("template"),
        "{error}"
    );
    let error = tokenizer.encode_chat(&row).unwrap_err();
    assert!(error.hint().is_some(), "{error}");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn the_start_of_a_text_is_that_of_the_whole() {
    let texts = ["hello 123, ", " ", "a", "\n", "é🙂", "he", "<|im_end|>", "  a\n\n b"];
    for tokenizer in [gguf(&byte_level("qwen2")), gguf(&byte_level("smollm")), gguf(&sentence_piece())] {
        for text in texts {
            let text = text.repeat((1 << 16) / text.len());
            let whole = tokenizer.encode(&text, true).unwrap();
            for limit in [0, 1, 16, 1000, 1 << 20] {
                let start = tokenizer.encode_start(&text, limit).unwrap();
                assert_eq!(start, whole[..limit.min(whole.len())], "{limit} of {text:.20}");
            }
        }
    }
    // Of a long text little is read.
    let (text, start) = ("hello 123, ".repeat(1 << 23), Instant::now());
    assert_eq!(gguf(&byte_level("qwen2")).encode_start(&text, 16).unwrap().len(), 16);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_template_that_loops_for_ever_is_stopped() {
    let template = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
    let tokenizer = gguf(&byte_level("smollm").text("tokenizer.chat_template", template));
    let start = Instant::now();
    let result = tokenizer.render(&chat(&[(User, "a")]), true);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(matches!(problem(result), Problem::Endless { line: 1 }));
}

// ---- damaged metadata

#[test]
fn damaged_metadata_is_refused() {
    let without = |mut file: File, key: &str| {
        file.entries.retain(|entry| entry.key != key);
        problem(try_gguf(&file))
    };
    for key in ["tokenizer.ggml.model", "tokenizer.ggml.tokens", "tokenizer.ggml.merges"] {
        assert!(
            matches!(without(byte_level("smollm"), key), tokenizer::Problem::NoKey { key: found } if found == key)
        );
    }
    assert!(matches!(without(sentence_piece(), "tokenizer.ggml.scores"), tokenizer::Problem::NoKey { .. }));
    let instead = |mut file: File, key: &str, value: Value| {
        file.entries.retain(|entry| entry.key != key);
        problem(try_gguf(&file.with(key, value)))
    };
    let found = instead(byte_level(""), "tokenizer.ggml.model", Value::Text("rwkv".into()));
    assert!(matches!(found, tokenizer::Problem::Kind { found } if found == "rwkv"));
    let found = instead(byte_level(""), "tokenizer.ggml.pre", Value::Text("tekken".into()));
    assert!(matches!(&found, tokenizer::Problem::PreTokenizer { found, .. } if found == "tekken"));
    assert!(found.to_string().contains("`smollm`"));
    let found =
        instead(byte_level("smollm"), "tokenizer.ggml.token_type", Value::Array(Array::Unsigned(vec![1; 3])));
    assert!(matches!(found, tokenizer::Problem::Length { found: 3, tokens: 268, .. }));
    let found = instead(sentence_piece(), "tokenizer.ggml.scores", Value::Array(Array::Float(vec![1.0; 5])));
    assert!(matches!(found, tokenizer::Problem::Length { found: 5, tokens: 273, .. }));
    for merge in ["he", "he q", "a b", "", " ", "ab cd"] {
        let merges = [byte_level_merges(), texts([merge])].concat();
        let found = instead(byte_level("smollm"), "tokenizer.ggml.merges", Value::Array(Array::Text(merges)));
        assert!(matches!(found, tokenizer::Problem::Merge { index: 9, .. }), "{found}");
    }
    for id in [Value::Unsigned(268), Value::Signed(-1)] {
        let found = instead(byte_level("smollm"), "tokenizer.ggml.eos_token_id", id);
        assert!(matches!(found, tokenizer::Problem::TokenId { tokens: 268, .. }), "{found}");
    }
    let found = problem(try_gguf(&byte_level("smollm").text("tokenizer.chat_template", "{% if %}")));
    assert!(matches!(found, Problem::Syntax { line: 1, .. }));
}

#[test]
fn odd_vocabularies_do_no_harm() {
    // Empty, doubled and endlessly long tokens; scores that are no numbers.
    let long = "ab".repeat(500_000);
    let vocabulary = ["", "", "a", "a", "b", "ab", long.as_str()].map(|t| (t.to_string(), NORMAL)).to_vec();
    let scores = vec![f64::NAN, f64::INFINITY, 0.0, -0.0, f64::NEG_INFINITY, f64::NAN, 1.0];
    let file = with_vocabulary(vocabulary)
        .text("tokenizer.ggml.model", "llama")
        .with("tokenizer.ggml.scores", Value::Array(Array::Float(scores)));
    let tokenizer = gguf(&file);
    assert_eq!(tokenizer.encode("ab", false).unwrap().len(), 1);
    let vocabulary = [("", CONTROL), ("a", NORMAL), ("b", NORMAL), ("ab", NORMAL), ("", USER_DEFINED)];
    let file = with_vocabulary(vocabulary.map(|(token, kind)| (token.to_string(), kind)).to_vec())
        .text("tokenizer.ggml.model", "gpt2")
        .with("tokenizer.ggml.merges", Value::Array(Array::Text(texts(["a b"]))));
    assert_eq!(gguf(&file).encode("abc", true).unwrap(), [3]);
}

// ---- folders

/// A `tokenizer.json` like [`byte_level`]'s.
fn tokenizer_json() -> Json {
    let vocabulary = byte_level_vocabulary();
    let entries = vocabulary.iter().enumerate().map(|(id, (token, _))| (token.clone(), json!(id)));
    let added =
        vocabulary.iter().enumerate().filter(|(_, (_, kind))| *kind != NORMAL).map(|(id, (token, kind))| {
            json!({"id": id, "content": token, "special": *kind == CONTROL, "normalized": false,
               "single_word": false, "lstrip": false, "rstrip": false})
        });
    let bytes =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "!"},
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": null,
        "pre_tokenizer": bytes,
        "post_processor": null,
        "decoder": bytes,
        "model": {"type": "BPE", "vocab": entries.collect::<serde_json::Map<_, _>>(), "merges": byte_level_merges()},
    })
}

/// A folder with a tokenizer and these files.
fn folder(files: &[(&str, Json)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    let tokenizer = ("tokenizer.json", tokenizer_json());
    for (name, content) in [tokenizer].iter().chain(files) {
        let text = content.as_str().map_or_else(|| content.to_string(), String::from);
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn from_folder(files: &[(&str, Json)]) -> Result<Tokenizer, Error> {
    Tokenizer::from_folder(folder(files).path())
}

#[test]
fn a_folder_gives_the_same_tokens_as_a_file() {
    let (folder, file) = (from_folder(&[]).unwrap(), gguf(&byte_level("gpt-2")));
    let text = "hello 123 <|im_end|><tool>\n\n é🙂";
    assert_eq!(
        folder.encode(text, true).unwrap(),
        file.encode(text, true).unwrap(),
        "neither cut nor filled"
    );
    assert!(!folder.has_chat_template());
    assert_eq!(folder.end_tokens(), [0; 0]);
}

#[test]
fn the_template_is_found_wherever_it_is() {
    let config = |template: Json| ("tokenizer_config.json", json!({ "chat_template": template }));
    let rendered =
        |files: &[(&str, Json)]| from_folder(files).unwrap().render(&chat(&[(User, "a")]), false).unwrap();
    assert_eq!(rendered(&[config(json!("one"))]), "one");
    let named = json!([{"name": "tool_use", "template": "x"}, {"name": "default", "template": "two"}]);
    assert_eq!(rendered(&[config(named)]), "two");
    assert_eq!(rendered(&[config(json!("one")), ("chat_template.jinja", json!("three"))]), "three");
    assert_eq!(rendered(&[("chat_template.json", json!({"chat_template": "four"}))]), "four");
    let found = problem(from_folder(&[config(json!([{"name": "rag", "template": "x"}]))]));
    assert!(matches!(found, Problem::NoDefaultTemplate { found } if found == ["rag"]));
}

#[test]
fn special_tokens_are_named_in_either_way() {
    let config = json!({"bos_token": {"__type": "AddedToken", "content": "<|im_start|>", "special": true}, "eos_token": "<|im_end|>",
                        "chat_template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"});
    let tokenizer = from_folder(&[("tokenizer_config.json", config)]).unwrap();
    assert_eq!(tokenizer.render(&chat(&[(User, "a")]), false).unwrap(), "<|im_start|>a<|im_end|>");
    assert_eq!((tokenizer.bos(), tokenizer.end_tokens()), (Some(265), &[266][..]));
}

#[test]
fn end_tokens_come_from_every_file() {
    let files = [
        ("config.json", json!({"eos_token_id": 7, "text_config": {"eos_token_id": [8]}})),
        ("generation_config.json", json!({"eos_token_id": [9, 7]})),
        ("tokenizer_config.json", json!({"eos_token": "<|im_end|>", "bos_token": null})),
    ];
    assert_eq!(from_folder(&files).unwrap().end_tokens(), [7, 8, 9, 266]);
}

#[test]
fn damaged_folders_are_refused() {
    assert!(matches!(
        problem(Tokenizer::from_folder(TempDir::new().unwrap().path())),
        tokenizer::Problem::NoTokenizer
    ));
    for file in ["tokenizer_config.json", "generation_config.json", "config.json", "chat_template.json"] {
        let found = problem(from_folder(&[(file, json!("{\"a\""))]));
        assert!(matches!(found, tokenizer::Problem::Json { file: found, .. } if found == file));
    }
    let found = problem(from_folder(&[("tokenizer.json", json!("{}"))]));
    assert!(matches!(found, tokenizer::Problem::Library { .. }));
    let too_long = "x".repeat(strait_model::template::MAX_TEMPLATE + 1);
    let error = from_folder(&[("chat_template.jinja", json!(too_long))]).unwrap_err().to_string();
    assert!(error.contains("`chat_template.jinja` is longer than"), "{error}");
    let mut tokenizer = tokenizer_json();
    tokenizer["model"] = json!({"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]});
    let found = problem(from_folder(&[("tokenizer.json", tokenizer)]));
    assert!(matches!(found, tokenizer::Problem::Library { .. }), "a merge that leads nowhere: {found}");
}

// ---- size

#[test]
fn megabytes_take_seconds() {
    let tokenizer = gguf(&byte_level("qwen2").text("tokenizer.chat_template", CHATML));
    for text in ["hello 123, ", " ", "a", "\n", "é🙂", "7", "?!", "<|im_end|>"] {
        let text = text.repeat((1 << 20) / text.len());
        let start = Instant::now();
        let encoded = tokenizer.encode_chat(&chat(&[(User, "a"), (Assistant, &text)])).unwrap();
        assert!(encoded.responses[0].end == encoded.ids.len());
        // For a busy machine; what grows with the square of the length would take hours.
        assert!(start.elapsed() < Duration::from_secs(60), "{:?} for {text:.20}", start.elapsed());
    }
}

// ---- real models

fn real(name: &str) -> Tokenizer {
    let path = real_model(&format!("{name}.gguf"));
    Tokenizer::from_gguf(&path, &Gguf::open(&path).unwrap()).unwrap()
}

fn gives_the_golden_ids(name: &str) {
    let tokenizer = real(name);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.json"));
    let golden: Json = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        if let Some(text) = case["text"].as_str() {
            assert_eq!(tokenizer.encode(text, true).unwrap(), ids, "{name}");
            continue;
        }
        let messages: Vec<Message> = serde_json::from_value(case["messages"].clone()).unwrap();
        let messages = Conversation::from(messages);
        assert_eq!(tokenizer.render(&messages, false).unwrap(), case["rendered"], "{name}");
        let encoded = tokenizer.encode_chat(&messages).unwrap();
        assert_eq!(encoded.ids, ids, "{name}");
        let prompt = case["prompt_tokens"].as_u64().unwrap() as usize;
        assert_eq!(encoded.responses.len(), 1, "{name}");
        assert_eq!(encoded.responses[0], prompt..ids.len(), "{name}");
        assert_eq!(
            tokenizer.encode_prompt(&messages.messages[..messages.messages.len() - 1].into()).unwrap(),
            ids[..prompt],
            "{name}"
        );
    }
}

fn ends_its_turns(name: &str, end: u32) {
    let tokenizer = real(name);
    assert_eq!(tokenizer.end_tokens(), [end], "{name}");
    assert_eq!(tokenizer.has_chat_template(), name != "gemma-3-270m");
}

fn decodes_to_what_was_encoded(name: &str) {
    let tokenizer = real(name);
    let mut runner = proptest::test_runner::TestRunner::default();
    let strategy = (any::<String>(), "[ \\t\\n\\ra-e0-9é漢🙂👩\u{200d}'<|>.,_-]{0,60}");
    runner
        .run(&strategy, |(text, more)| {
            let text = text + &more;
            let ids = tokenizer.encode(&text, false).unwrap();
            let decoded = tokenizer.decode(&ids, false).unwrap();
            // Qwen composes characters, so what comes back is compared as tokens.
            prop_assert_eq!(&tokenizer.encode(&decoded, false).unwrap(), &ids);
            if name == "smollm2" {
                prop_assert_eq!(&decoded, &text);
            }
            let decoded = tokenizer.decode(&ids, true).unwrap();
            prop_assert!(text.contains(char::REPLACEMENT_CHARACTER) || streamed(&tokenizer, &ids) == decoded);
            Ok(())
        })
        .unwrap();
}

mod needs_smollm2 {
    use super::*;

    #[test]
    #[ignore = "needs SmolLM2: scripts/fetch-test-models.sh --small DIR, STRAIT_MODELS=DIR"]
    fn the_golden_ids() {
        gives_the_golden_ids("smollm2");
    }

    #[test]
    #[ignore = "needs SmolLM2: scripts/fetch-test-models.sh --small DIR, STRAIT_MODELS=DIR"]
    fn turns_end() {
        ends_its_turns("smollm2", 2);
    }

    #[test]
    #[ignore = "needs SmolLM2: scripts/fetch-test-models.sh --small DIR, STRAIT_MODELS=DIR"]
    fn tokens_decode_to_what_was_encoded() {
        decodes_to_what_was_encoded("smollm2");
    }
}

mod needs_models {
    use super::*;

    const OTHERS: [&str; 2] = ["qwen2.5-coder-0.5b", "gemma-3-270m"];

    #[test]
    #[ignore = "needs all test models: scripts/fetch-test-models.sh DIR, STRAIT_MODELS=DIR"]
    fn the_golden_ids() {
        for name in OTHERS {
            gives_the_golden_ids(name);
        }
    }

    #[test]
    #[ignore = "needs all test models: scripts/fetch-test-models.sh DIR, STRAIT_MODELS=DIR"]
    fn turns_end() {
        ends_its_turns("qwen2.5-coder-0.5b", 151_645);
        ends_its_turns("gemma-3-270m", 1);
    }

    #[test]
    #[ignore = "needs all test models: scripts/fetch-test-models.sh DIR, STRAIT_MODELS=DIR"]
    fn the_largest_vocabulary_is_rebuilt_in_seconds() {
        let path = real_model("gemma-3-270m.gguf");
        let gguf = Gguf::open(&path).unwrap();
        let start = Instant::now();
        assert_eq!(Tokenizer::from_gguf(&path, &gguf).unwrap().vocab_size(), 262_144);
        println!("Gemma's tokenizer rebuilt in {:?}", start.elapsed());
        // An idle machine takes about two.
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    }

    #[test]
    #[ignore = "needs all test models: scripts/fetch-test-models.sh DIR, STRAIT_MODELS=DIR"]
    fn tokens_decode_to_what_was_encoded() {
        for name in OTHERS {
            decodes_to_what_was_encoded(name);
        }
    }
}

#[test]
fn a_template_that_speaks_of_the_whole_before_it_has_no_place_for_a_response() {
    // What stands before the answer is another text without it, so that nobody would be asked for it this way.
    for before in
        ["{{ messages | length }}", "{{ messages[-1].content | upper }}", "{{ messages[-1].content }}"]
    {
        let template = format!("{before}{CHATML}");
        let tokenizer = gguf(&byte_level("smollm").text("tokenizer.chat_template", &template));
        let problem = problem(tokenizer.encode_chat(&chat(&[(User, "a"), (Assistant, "lamps")])));
        assert!(matches!(problem, Problem::Rewritten { message: 2, .. }), "{before}: {problem}");
    }
}
