//! The values of expressions.

use std::rc::Rc;

use super::Run;
use crate::template::{
    args::Args,
    ast::{Arguments, Expr},
    checks,
    compare::compare,
    context::Context,
    fault::{Result, fail, unsupported},
    filters, ops,
    print::text_of,
    value::{Scope, Value},
};

impl Run {
    /// The value of an expression.
    pub(super) fn eval(&self, expr: &Expr, scope: &Rc<Scope>) -> Result<Value> {
        self.deeper(|| self.value(expr, scope))
    }

    pub(super) fn all(&self, exprs: &[Expr], scope: &Rc<Scope>) -> Result<Vec<Value>> {
        exprs.iter().map(|expr| self.eval(expr, scope)).collect()
    }

    fn value(&self, expr: &Expr, scope: &Rc<Scope>) -> Result<Value> {
        Ok(match expr {
            Expr::None => Value::None,
            Expr::Bool(value) => Value::Bool(*value),
            Expr::Int(value) => Value::Int(*value),
            Expr::Float(value) => Value::Float(*value),
            Expr::Str(text) => Value::Str(text.clone()),
            Expr::Name(name) => match scope.find(name) {
                Some(value) => value,
                None if &**name == "self" => return unsupported("the name `self`"),
                None => self.undefined(format!("'{name}' is undefined")),
            },
            Expr::NamespaceRef(name, _) => return fail(format!("'{name}' cannot be read here")),
            Expr::Tuple(items) => Value::tuple(self.all(items, scope)?)?,
            Expr::List(items) => Value::list(self.all(items, scope)?)?,
            Expr::Dict(entries) => {
                let entry =
                    |(key, value): &(Expr, Expr)| Ok((self.eval(key, scope)?, self.eval(value, scope)?));
                Value::dict(entries.iter().map(entry).collect::<Result<Vec<_>>>()?, &self.meter)?
            }
            Expr::Conditional { test, then, otherwise } => {
                match (self.eval(test, scope)?.is_truthy(), otherwise) {
                    (true, _) => self.eval(then, scope)?,
                    (false, Some(otherwise)) => self.eval(otherwise, scope)?,
                    (false, None) => self.undefined("the inline if-expression has no else".into()),
                }
            }
            Expr::And(left, right) => {
                let left = self.eval(left, scope)?;
                if left.is_truthy() { self.eval(right, scope)? } else { left }
            }
            Expr::Or(left, right) => {
                let left = self.eval(left, scope)?;
                if left.is_truthy() { left } else { self.eval(right, scope)? }
            }
            Expr::Not(expr) => (!self.eval(expr, scope)?.is_truthy()).into(),
            Expr::Negative(expr) => ops::negative(&self.eval(expr, scope)?)?,
            Expr::Positive(expr) => ops::positive(&self.eval(expr, scope)?)?,
            Expr::Binary(operator, left, right) => {
                let (left, right) = (self.eval(left, scope)?, self.eval(right, scope)?);
                ops::binary(*operator, &left, &right, &self.meter)?
            }
            Expr::Concat(parts) => {
                let mut out = String::new();
                for part in parts {
                    self.write(&mut out, &text_of(&self.eval(part, scope)?, &self.meter)?)?;
                }
                out.into()
            }
            Expr::Compare(first, others) => {
                let mut left = self.eval(first, scope)?;
                for (comparison, expr) in others {
                    let right = self.eval(expr, scope)?;
                    if !compare(*comparison, &left, &right, &self.meter)? {
                        return Ok(false.into());
                    }
                    left = right;
                }
                true.into()
            }
            Expr::Attribute(of, name) => self.attribute(&self.eval(of, scope)?, name)?,
            Expr::Item(of, key) => {
                let of = self.eval(of, scope)?;
                self.item(&of, &self.eval(key, scope)?)?
            }
            Expr::Slice(of, bounds) => {
                let of = self.eval(of, scope)?;
                let [start, stop, step] = bounds;
                let bound = |bound: &Option<Box<Expr>>| {
                    bound.as_ref().map(|bound| self.eval(bound, scope)).transpose()
                };
                ops::sliced(&of, [bound(start)?, bound(stop)?, bound(step)?], &self.meter)?
            }
            Expr::Call(function, arguments) => self.call(function, arguments, None, scope)?,
            Expr::Filter(..) => self.filter(expr, None, scope)?,
            Expr::Test(of, name, arguments) => {
                let of = self.eval(of, scope)?;
                let arguments = self.arguments(arguments, scope)?;
                checks::call(self, name, &of, arguments)?.into()
            }
        })
    }

    /// A filter and those before it; the first is given `input`.
    pub(super) fn filter(&self, expr: &Expr, input: Option<Value>, scope: &Rc<Scope>) -> Result<Value> {
        let Expr::Filter(of, name, arguments) = expr else { return self.eval(expr, scope) };
        let of = match (of, input) {
            (Some(of), input) => self.deeper(|| self.filter(of, input, scope))?,
            (None, Some(input)) => input,
            (None, None) => return fail("a filter of nothing"),
        };
        filters::call(self, name, of, self.arguments(arguments, scope)?)
    }

    pub(super) fn undefined(&self, message: String) -> Value {
        Value::Undefined(message.into())
    }

    pub(super) fn arguments(&self, arguments: &Arguments, scope: &Rc<Scope>) -> Result<Args> {
        let mut args = Args::of(self.all(&arguments.positional, scope)?);
        for (name, expr) in &arguments.named {
            args.named.push((name.clone(), self.eval(expr, scope)?));
        }
        if let Some(more) = &arguments.more {
            args.positional.extend(self.eval(more, scope)?.items(&self.meter)?);
        }
        if let Some(more) = &arguments.more_named {
            let Value::Dict(dict) = self.eval(more, scope)? else {
                return fail("the argument after ** must be a mapping");
            };
            for (name, value) in &dict.entries {
                let Some(name) = name.as_str() else { return fail("keywords must be strings") };
                if args.named.iter().any(|(other, _)| other == name) {
                    return fail(format!("multiple values for the argument '{name}'"));
                }
                args.named.push((name.clone(), value.clone()));
            }
        }
        self.meter.charge_values(args.positional.len() + args.named.len())?;
        Ok(args)
    }
}
