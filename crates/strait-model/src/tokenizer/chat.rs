//! Conversations as token ids, with the place of each response.

use std::ops::Range;

use super::{Problem, Tokenizer};
use crate::{Conversation, Error, Result, template};

/// Most bytes that are rendered to tell the turns of a conversation apart: each needs its beginning rendered anew.
const MAX_RENDERED: usize = 64 << 20;
/// Two contents of which no template says the same.
const PROBES: [&str; 2] = ["x", "y"];

/// A conversation as token ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedChat {
    /// The ids of the whole conversation.
    pub ids: Vec<u32>,
    /// For each assistant turn that is trained on, in order, where its response lies in `ids`: all that the chat template
    /// writes after the generation prompt, which is the text, its end token and what follows it.
    pub responses: Vec<Range<usize>>,
    /// The numbers, counted from 1, of assistant messages that are no responses because the template writes them otherwise
    /// once others follow: many drop an answer's thoughts then, so that the model would never have written what stands there.
    pub left_out: Vec<usize>,
}

impl Tokenizer {
    /// The ids of a whole conversation with the place of each assistant turn's response.
    ///
    /// # Errors
    /// As [`Self::encode_chat_within`], for a context without end.
    pub fn encode_chat(&self, conversation: &Conversation) -> Result<EncodedChat> {
        self.encode_chat_within(conversation, usize::MAX)
    }

    /// The same, for a model that reads at most `context` tokens.
    ///
    /// The text is rendered once and its ids are those of the whole; the places are found by rendering the conversation
    /// up to each turn. A token on both sides of a place belongs to what follows.
    ///
    /// # Errors
    /// As [`Self::render`]; also if there are more tokens than `context`, or no turn is left to be trained on.
    pub fn encode_chat_within(&self, conversation: &Conversation, context: usize) -> Result<EncodedChat> {
        let messages = &conversation.messages;
        let answers = || (0..messages.len()).filter(|&i| messages[i].is_answer());
        let turns: Vec<usize> = answers().filter(|&i| messages[i].trained).collect();
        if turns.is_empty() {
            return Err(match answers().next() {
                None => self.error(template::Problem::NoAssistant),
                Some(_) => self.error(Problem::NothingTrained),
            });
        }
        let whole = self.render(conversation, false)?;
        let encoding = self.encoding(&whole, |library| library.encode(whole.as_str(), false))?;
        let tokens = encoding.len();
        if tokens > context {
            return Err(Error::TooLong { tokens, context });
        }
        if turns.len().saturating_mul(whole.len()) > MAX_RENDERED {
            return Err(self.error(Problem::TooManyTurns { turns: turns.len(), bytes: whole.len() }));
        }
        // A token belongs to a part of the text if it ends in it. The first of all follows nothing.
        let place = |byte: usize| encoding.get_offsets().partition_point(|&(_, end)| end <= byte);
        let mut chat = EncodedChat { ids: encoding.get_ids().to_vec(), ..EncodedChat::default() };
        let mut rewritten = None;
        for turn in turns {
            let message = turn + 1;
            match self.response(conversation, turn, &whole)? {
                Ok(bytes) => {
                    let response = place(bytes.start).max(1)..place(bytes.end);
                    if response.is_empty() {
                        return Err(self.error(template::Problem::EmptyResponse { message }));
                    }
                    chat.responses.push(response);
                }
                Err(byte) => {
                    rewritten.get_or_insert((message, byte));
                    chat.left_out.push(message);
                }
            }
        }
        match rewritten {
            Some((message, byte)) if chat.responses.is_empty() => {
                Err(self.error(template::Problem::Rewritten { message, byte }))
            }
            _ => Ok(chat),
        }
    }

    /// The bytes of a turn's response in the whole text; or, where the template writes the turn otherwise once others
    /// follow, the byte at which it begins to.
    fn response(
        &self,
        conversation: &Conversation,
        turn: usize,
        whole: &str,
    ) -> Result<Result<Range<usize>, usize>> {
        let last = turn + 1 == conversation.messages.len();
        let shorter = if last { None } else { Some(self.rendered(conversation, turn + 1, false)?) };
        let upto = shorter.as_deref().unwrap_or(whole);
        let common = common_prefix(upto, whole);
        if common < upto.len() {
            return Ok(Err(common));
        }
        let prompt = if turn > 0 { Some(self.rendered(conversation, turn, true)) } else { None };
        let start = match &prompt {
            Some(Ok(prompt)) if upto.starts_with(prompt.as_str()) => Some(prompt.len()),
            _ => self.header(conversation, turn, upto),
        };
        match (start, prompt) {
            (Some(start), _) => Ok(Ok(start..upto.len())),
            (None, Some(Ok(prompt))) => Ok(Err(common_prefix(&prompt, upto))),
            (None, Some(Err(error))) => Err(error),
            (None, None) => Ok(Err(0)),
        }
    }

    /// The byte at which the response begins in the text of a conversation that ends with it, if that text does not begin with the
    /// prompt for it: because nothing can be asked before the first message, or because the template opens an answer with
    /// words that it drops from answers that are there.
    ///
    /// It begins after the generation prompt where the turn has it, else where turns of other contents part. None where the
    /// text before the turn is not what the model would be asked with, or the content stands in more than one place.
    fn header(&self, conversation: &Conversation, turn: usize, upto: &str) -> Option<usize> {
        let before = match turn {
            0 => 0,
            _ => {
                // What the text has of earlier turns, be it asked for an answer or not: some templates end it in words of its own.
                let [open, ended] =
                    [true, false].map(|prompt| self.rendered(conversation, turn, prompt).ok());
                let (open, ended) = (open?, ended?);
                let before = common_prefix(&open, &ended);
                upto.as_bytes().starts_with(&open.as_bytes()[..before]).then_some(before)?
            }
        };
        let mut messages = conversation.messages[..=turn].to_vec();
        let [x, y] = PROBES.map(|content| {
            messages[turn] = messages[turn].with_content(content);
            let other = Conversation { messages: messages.clone(), tools: conversation.tools.clone() };
            self.render(&other, false).ok()
        });
        let (x, y) = (x?, y?);
        let parting = common_prefix(&x, &y);
        let stands_once = x.len() == y.len() && x.bytes().zip(y.bytes()).filter(|(a, b)| a != b).count() == 1;
        if !stands_once || parting < before || !upto.as_bytes().starts_with(&x.as_bytes()[..parting]) {
            return None;
        }
        let asked = self.rendered(conversation, turn + 1, true).ok();
        let prompt =
            asked.as_deref().and_then(|asked| asked.strip_prefix(upto)).filter(|prompt| !prompt.is_empty());
        let after_prompt = prompt.and_then(|prompt| {
            let found = upto.get(..parting)?.rfind(prompt)? + prompt.len();
            (found >= before).then_some(found)
        });
        Some(after_prompt.unwrap_or(parting))
    }
}

/// Bytes that two texts have in common at their start.
fn common_prefix(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}
