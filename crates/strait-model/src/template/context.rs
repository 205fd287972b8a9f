//! The rendering as functions, methods, filters and tests see it.

use super::{
    ast::Text,
    date::Date,
    fault::{Meter, Result},
    value::Value,
};

pub trait Context {
    fn meter(&self) -> &Meter;

    /// The day that the template is told.
    fn date(&self) -> Date;

    /// `value.name`: an attribute, else an item.
    fn attribute(&self, value: &Value, name: &str) -> Result<Value>;

    /// `value[key]`: an item, else an attribute.
    fn item(&self, value: &Value, key: &Value) -> Result<Value>;

    /// A namespace, which the rendering empties at its end.
    fn namespace(&self, attributes: Vec<(Text, Value)>) -> Value;
}
