//! The arguments of a call.

use super::{
    ast::Text,
    fault::{Result, fail, unsupported},
    value::Value,
};

#[derive(Debug, Default)]
pub struct Args {
    pub positional: Vec<Value>,
    pub named: Vec<(Text, Value)>,
}

impl Args {
    /// Positional arguments only.
    pub fn of(positional: Vec<Value>) -> Self {
        Self { positional, named: Vec::new() }
    }

    /// The arguments of a function with these parameters, of which the first `required` must be given.
    pub fn bind<const N: usize>(
        self,
        function: &str,
        names: [&str; N],
        required: usize,
    ) -> Result<[Option<Value>; N]> {
        let mut bound = [const { None }; N];
        let count = self.positional.len();
        if count > N {
            return fail(format!("{function}() takes at most {N} arguments ({count} given)"));
        }
        for (slot, value) in bound.iter_mut().zip(self.positional) {
            *slot = Some(value);
        }
        for (name, value) in self.named {
            let Some(at) = names.iter().position(|known| *known == &*name) else {
                return fail(format!("{function}() got an unexpected keyword argument '{name}'"));
            };
            if bound[at].replace(value).is_some() {
                return fail(format!("{function}() got multiple values for argument '{name}'"));
            }
        }
        match bound.iter().take(required).position(Option::is_none) {
            Some(missing) => fail(format!("{function}() needs the argument '{}'", names[missing])),
            None => Ok(bound),
        }
    }

    /// The same for a function that takes no names.
    pub fn positional<const N: usize>(self, function: &str, required: usize) -> Result<[Option<Value>; N]> {
        if !self.named.is_empty() {
            return fail(format!("{function}() takes no keyword arguments"));
        }
        self.bind(function, [""; N], required)
    }
}

/// A text that a function needs.
pub fn text(value: &Value, function: &str) -> Result<Text> {
    match value {
        Value::Str(text) => Ok(text.clone()),
        Value::Markup(_) => unsupported(format!("`{function}` of text that `safe` or `escape` marked")),
        other => fail(format!("{function}() needs a text, not {}", other.kind())),
    }
}

/// An integer that a function needs.
pub fn int(value: &Value, function: &str) -> Result<i128> {
    match value.as_int() {
        Some(number) => Ok(number),
        None => match value {
            Value::Undefined(message) => fail(&**message),
            _ => {
                fail(format!("'{}' object cannot be interpreted as an integer by {function}()", value.kind()))
            }
        },
    }
}

/// An integer as a size, negative ones as zero and huge ones as large as can be.
pub fn size(number: i128) -> usize {
    usize::try_from(number.max(0)).unwrap_or(usize::MAX)
}
