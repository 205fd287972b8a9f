//! Conversations with a model: a question goes in, its answer comes out piece by piece.

use crate::{
    Edit, Message, Model, Result, Role,
    decoder::Readout,
    sample::{Sampling, sample_reading},
};

/// A conversation with a model under an edit.
///
/// It knows no screen: the text of an answer goes to a closure as it is drawn, and the closure says when to stop. Two chats
/// with equal settings, asked the same questions, give the same answers.
///
/// ```
/// use candle_core::Device;
/// use strait_model::{Chat, Model, Precision, progress::Silent, sample::Sampling, source::locate};
///
/// # fn main() -> strait_model::Result<()> {
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny/llama");
/// let model = Model::load(&locate(folder, &Silent)?, &Device::Cpu, Precision::F32)?;
/// let sampling = Sampling { temperature: 0.7, max_tokens: 12, ..Sampling::default() };
/// let mut chat = Chat::new(&model, None, Vec::new(), sampling);
///
/// let mut shown = String::new();
/// let answer = chat.ask("Why does the kettle whistle?", |piece| {
///     shown.push_str(piece);
///     true
/// })?;
/// assert_eq!(answer.text, shown);
///
/// // Stopped at once, an answer has one token; it stays in the conversation like any other.
/// let stopped = chat.ask("And then?", |_| false)?;
/// assert_eq!((stopped.tokens, stopped.finished), (1, false));
/// assert_eq!(chat.messages().len(), 4);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Chat<'a> {
    model: &'a Model,
    edit: Option<&'a Edit>,
    readout: Option<Readout>,
    /// The seed is the next answer's.
    sampling: Sampling,
    messages: Vec<Message>,
    /// Messages that were there before the first question.
    given: usize,
}

/// An answer as it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// All pieces, one behind the other.
    pub text: String,
    /// The tokens drawn, the end token included.
    pub tokens: usize,
    /// True if the model ended it, rather than the limit or the reader.
    pub finished: bool,
}

impl<'a> Chat<'a> {
    /// A conversation that begins with these messages: none, a system prompt, or turns from elsewhere.
    ///
    /// The first answer is drawn with the seed of `sampling`, each later one with the next.
    pub fn new(model: &'a Model, edit: Option<&'a Edit>, messages: Vec<Message>, sampling: Sampling) -> Self {
        Self { model, edit, readout: None, sampling, given: messages.len(), messages }
    }

    /// The same conversation, of whose answers' tokens readings are taken.
    #[must_use]
    pub fn reading(self, readout: Readout) -> Self {
        Self { readout: Some(readout), ..self }
    }

    /// The messages so far, in order.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Forgets all questions and answers. The seed goes on.
    pub fn reset(&mut self) {
        self.messages.truncate(self.given);
    }

    /// Answers a question.
    ///
    /// `seen` gets the text that each drawn token completes, which is empty while a character is spread over several
    /// tokens, and ends the answer by returning `false`.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_prompt`](crate::Tokenizer::encode_prompt) and [`sample`](crate::sample::sample); the conversation is then as it was
    /// before the question.
    pub fn ask(&mut self, question: &str, mut seen: impl FnMut(&str) -> bool) -> Result<Answer> {
        self.ask_reading(question, |text, _| seen(text))
    }

    /// As [`ask`](Self::ask); `seen` also gets the readings of the token that completed the text, which are empty where none are
    /// taken and at the last token.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn ask_reading(
        &mut self,
        question: &str,
        mut seen: impl FnMut(&str, &[f32]) -> bool,
    ) -> Result<Answer> {
        let asked = Message::new(Role::User, question);
        let messages = [self.messages.as_slice(), &[asked]].concat();
        let tokenizer = &self.model.tokenizer;
        let prompt = tokenizer.encode_prompt(&messages.as_slice().into())?;
        let mut stream = tokenizer.stream();
        let mut text = String::new();
        let mut undecoded = None;
        let readout = self.readout.as_ref();
        let drawn =
            sample_reading(self.model, &prompt, self.edit, 1, &self.sampling, readout, |drawn| match stream
                .push(drawn.id)
            {
                Ok(piece) => {
                    text.push_str(&piece);
                    seen(&piece, &drawn.readings)
                }
                Err(error) => {
                    undecoded = Some(error);
                    false
                }
            })?;
        if let Some(error) = undecoded {
            return Err(error);
        }
        let rest = stream.finish()?;
        if !rest.is_empty() {
            text.push_str(&rest);
            seen(&rest, &[]);
        }
        self.messages = messages;
        self.messages.push(Message::new(Role::Assistant, text.as_str()));
        self.sampling.seed = self.sampling.seed.wrapping_add(1);
        let answer = drawn.into_iter().next();
        let (tokens, finished) = answer.map_or((0, false), |answer| (answer.ids.len(), answer.finished));
        Ok(Answer { text, tokens, finished })
    }
}
