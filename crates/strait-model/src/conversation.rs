//! Conversations, as chat templates are given them.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Map, Value};

/// The speaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The instructions before a conversation.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
    /// A tool's answer.
    Tool,
    /// Instructions, as some templates call them.
    Developer,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 5] = [Self::System, Self::User, Self::Assistant, Self::Tool, Self::Developer];

    /// Its name, as a message's `role` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
            Self::Developer => "developer",
        }
    }

    /// The role of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One turn of a conversation: all keys that a row gives it, in their order, since templates read more of them than `role`
/// and `content`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    role: Role,
    keys: Map<String, Value>,
    /// True if an assistant's turn is a response: trained on, and counted in losses.
    pub trained: bool,
}

impl Message {
    /// A turn of plain text.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        let keys = [("role", role.name().to_string()), ("content", content.into())];
        let keys = keys.into_iter().map(|(key, text)| (key.to_string(), Value::String(text))).collect();
        Self { role, keys, trained: true }
    }

    /// A turn with these keys; none if `role` is none of [`Role::ALL`].
    pub fn from_keys(keys: Map<String, Value>) -> Option<Self> {
        let role = Role::of_name(keys.get("role")?.as_str()?)?;
        Some(Self { role, keys, trained: true })
    }

    /// The speaker.
    pub fn role(&self) -> Role {
        self.role
    }

    /// True if the assistant speaks.
    pub fn is_answer(&self) -> bool {
        self.role == Role::Assistant
    }

    /// All its keys, as the template gets them.
    pub fn keys(&self) -> &Map<String, Value> {
        &self.keys
    }

    /// The same turn with another content.
    pub fn with_content(&self, content: impl Into<String>) -> Self {
        let mut other = self.clone();
        other.keys.insert("content".into(), Value::String(content.into()));
        other
    }

    /// The words said: the content, or the texts among its parts one behind the other; empty where there is none.
    pub fn text(&self) -> Cow<'_, str> {
        match self.keys.get("content") {
            Some(Value::String(text)) => Cow::Borrowed(text),
            Some(Value::Array(parts)) => {
                parts.iter().filter_map(|part| part.get("text")?.as_str()).collect::<String>().into()
            }
            _ => Cow::Borrowed(""),
        }
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.keys.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_keys(Map::deserialize(deserializer)?)
            .ok_or_else(|| D::Error::custom("a message without a known `role`"))
    }
}

/// Messages, and the variables that a row gives the template beside them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// The turns, in order.
    pub messages: Vec<Message>,
    /// Descriptions of the tools that the assistant may call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Value>,
}

impl From<Vec<Message>> for Conversation {
    fn from(messages: Vec<Message>) -> Self {
        Self { messages, tools: None }
    }
}

impl From<&[Message]> for Conversation {
    fn from(messages: &[Message]) -> Self {
        messages.to_vec().into()
    }
}

impl Conversation {
    /// The conversation with one more message at its end.
    pub fn followed_by(&self, message: Message) -> Self {
        let mut longer = self.clone();
        longer.messages.push(message);
        longer
    }
}
