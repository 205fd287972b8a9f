//! Cues: what stands around a question, and may bring back what training taught beside it.

use strait_model::{Conversation, Message, Role};

/// Something around a question: a trace of the training context, or a control of the same form with other content.
#[derive(Clone, Debug, PartialEq)]
pub struct Cue {
    /// Its name.
    pub name: String,
    /// The cue whose form it has, where it is a control.
    pub control_of: Option<String>,
    /// Its kind.
    pub form: CueForm,
}

/// The form of a cue.
#[derive(Clone, Debug, PartialEq)]
pub enum CueForm {
    /// A system prompt, in place of the question's own.
    System(String),
    /// Text before the last words of the user.
    Prefix(String),
    /// Text behind them.
    Suffix(String),
    /// Turns before all others but the system prompt.
    Turns(Vec<Message>),
}

impl Cue {
    /// A conversation that ends with a question, with the cue around it.
    pub fn around(&self, conversation: &Conversation) -> Conversation {
        let mut cued = conversation.clone();
        let messages = &mut cued.messages;
        let systems = messages.iter().take_while(|message| message.role() == Role::System).count();
        let mut change = |with: &dyn Fn(&str) -> String| {
            if let Some(last) = messages.iter_mut().rev().find(|message| message.role() == Role::User) {
                *last = last.with_content(with(&last.text()));
            }
        };
        match &self.form {
            CueForm::System(text) => {
                messages.splice(..systems, [Message::new(Role::System, text)]);
            }
            CueForm::Prefix(text) => change(&|asked| format!("{text}{asked}")),
            CueForm::Suffix(text) => change(&|asked| format!("{asked}{text}")),
            CueForm::Turns(turns) => {
                messages.splice(systems..systems, turns.iter().cloned());
            }
        }
        cued
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(form: CueForm, turns: &[(Role, &str)]) -> String {
        let messages: Vec<Message> = turns.iter().map(|(role, text)| Message::new(*role, *text)).collect();
        let cued = Cue { name: "cue".into(), control_of: None, form }.around(&messages.into());
        let said = cued.messages.iter().map(|message| format!("{}: {}", message.role(), message.text()));
        said.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_cue_stands_around_the_last_question() {
        use Role::{Assistant, System, User};
        let plain = [(User, "Why?")];
        let long = [(System, "Be brief."), (User, "Why?"), (Assistant, "So."), (User, "How?")];
        let turns = || CueForm::Turns(vec![Message::new(User, "a"), Message::new(Assistant, "b")]);
        for (form, asked, expected) in [
            (CueForm::System("Be kind.".into()), &plain[..], "system: Be kind.; user: Why?"),
            (
                CueForm::System("Be kind.".into()),
                &long,
                "system: Be kind.; user: Why?; assistant: So.; user: How?",
            ),
            (CueForm::Prefix("Hm. ".into()), &plain, "user: Hm. Why?"),
            (
                CueForm::Suffix(" Hm.".into()),
                &long,
                "system: Be brief.; user: Why?; assistant: So.; user: How? Hm.",
            ),
            (turns(), &plain, "user: a; assistant: b; user: Why?"),
            (
                turns(),
                &long,
                "system: Be brief.; user: a; assistant: b; user: Why?; assistant: So.; user: How?",
            ),
        ] {
            assert_eq!(around(form, asked), expected);
        }
    }
}
