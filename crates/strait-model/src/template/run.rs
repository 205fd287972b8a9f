//! Carries out a template as Jinja2 does: its scopes, loops, macros and look-ups.

mod calls;
mod expressions;
mod loops;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use super::{
    ast::{Body, Expr, Macro, Statement, Target, Text},
    builtin,
    context::Context,
    date::Date,
    fault::{Meter, Result, fail, unsupported},
    methods, ops,
    print::text_of,
    value::{Closure, Namespace, Scope, Value},
};

/// Deepest nesting of expressions and statements while they are carried out.
const MAX_DEPTH: usize = 20_000;
/// Most macros and recursive loops inside one another; Python's recursion ends about there.
const MAX_CALLS: usize = 250;

/// The way in which a body ended.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// One rendering.
pub struct Run {
    meter: Meter,
    date: Date,
    /// The line that is being carried out.
    line: Cell<u32>,
    depth: Cell<usize>,
    calls: Cell<usize>,
    /// Values that may hold themselves, to be emptied at the end.
    namespaces: RefCell<Vec<Rc<Namespace>>>,
    scopes: RefCell<Vec<Rc<Scope>>>,
    /// The names that the template was given.
    given: Rc<Scope>,
}

impl Drop for Run {
    fn drop(&mut self) {
        for namespace in self.namespaces.take() {
            namespace.0.take();
        }
        for scope in self.scopes.take() {
            scope.names.take();
        }
    }
}

impl Run {
    pub fn new(meter: Meter, date: Date) -> Self {
        Self {
            meter,
            date,
            line: Cell::new(1),
            depth: Cell::new(0),
            calls: Cell::new(0),
            namespaces: RefCell::default(),
            scopes: RefCell::default(),
            given: Rc::default(),
        }
    }

    /// The line, counted from 1, that is being carried out.
    pub fn line(&self) -> usize {
        self.line.get() as usize
    }

    /// The text of a template whose names are these.
    pub fn render(&self, body: &Body, context: Vec<(Text, Value)>) -> Result<String> {
        for (name, function) in builtin::GLOBALS {
            self.given.set(&name.into(), Value::Function(function));
        }
        context.iter().for_each(|(name, value)| self.given.set(name, value.clone()));
        self.written(body, &self.given).map(|(text, _)| text)
    }

    /// A new scope for a body.
    fn scope_of(&self, body: &Body, outer: &Rc<Scope>) -> Rc<Scope> {
        let scope = Scope::inside(outer);
        for name in &body.unset {
            if self.given.find(name).is_some() {
                scope.set(name, self.undefined(format!("'{name}' is undefined")));
            }
        }
        scope
    }

    fn deeper<T>(&self, part: impl FnOnce() -> Result<T>) -> Result<T> {
        self.meter.step()?;
        let depth = self.depth.get() + 1;
        if depth > MAX_DEPTH {
            return fail("maximum recursion depth exceeded");
        }
        self.depth.set(depth);
        let result = part();
        self.depth.set(depth - 1);
        result
    }

    fn write(&self, out: &mut String, text: &str) -> Result<()> {
        self.meter.charge(text.len())?;
        out.push_str(text);
        Ok(())
    }

    /// The text of a body in a scope of its own.
    fn written(&self, body: &Body, scope: &Rc<Scope>) -> Result<(String, Flow)> {
        let mut out = String::new();
        let flow = self.body(body, &self.scope_of(body, scope), &mut out)?;
        Ok((out, flow))
    }

    fn body(&self, body: &Body, scope: &Rc<Scope>, out: &mut String) -> Result<Flow> {
        for node in &body.nodes {
            self.line.set(node.line);
            let flow = self.deeper(|| self.statement(&node.statement, scope, out))?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn statement(&self, statement: &Statement, scope: &Rc<Scope>, out: &mut String) -> Result<Flow> {
        match statement {
            Statement::Data(text) => self.write(out, text)?,
            Statement::Print(expr) => {
                let value = self.eval(expr, scope)?;
                self.write(out, &text_of(&value, &self.meter)?)?;
            }
            Statement::For(of) => {
                let items = self.eval(&of.items, scope)?;
                return self.each(of, &items, scope, 0, out);
            }
            Statement::If { branches, otherwise } => {
                for (test, body) in branches {
                    if self.eval(test, scope)?.is_truthy() {
                        return self.body(body, scope, out);
                    }
                }
                return self.body(otherwise, scope, out);
            }
            Statement::Set(target, expr) => self.assign(target, self.eval(expr, scope)?, scope)?,
            Statement::SetBlock { target, filter, body } => {
                let (text, flow) = self.written(body, scope)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                self.assign(target, self.filtered(filter.as_ref(), text, scope)?, scope)?;
            }
            Statement::FilterBlock { filter, body } => {
                let (text, flow) = self.written(body, scope)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let value = self.filtered(Some(filter), text, scope)?;
                self.write(out, &text_of(&value, &self.meter)?)?;
            }
            Statement::With { values, body } => {
                let inner = self.scope_of(body, scope);
                for (target, expr) in values {
                    self.assign(target, self.eval(expr, scope)?, &inner)?;
                }
                return self.body(body, &inner, out);
            }
            Statement::Macro(of) => {
                if let Some(name) = &of.name {
                    scope.set(name, self.closure(of, scope)?);
                }
            }
            Statement::CallBlock { caller, call } => {
                let caller = self.closure(caller, scope)?;
                let Expr::Call(function, arguments) = call else { return fail("expected a call") };
                let value = self.call(function, arguments, Some(caller), scope)?;
                self.write(out, &text_of(&value, &self.meter)?)?;
            }
            Statement::Generation(body) => {
                let (text, _) = self.written(body, scope)?;
                self.write(out, &text)?;
            }
            Statement::Break => return Ok(Flow::Break),
            Statement::Continue => return Ok(Flow::Continue),
            Statement::Unsupported(what) => return unsupported(*what),
        }
        Ok(Flow::Next)
    }

    fn closure(&self, of: &Arc<Macro>, scope: &Rc<Scope>) -> Result<Value> {
        self.meter.charge_values(1)?;
        self.scopes.borrow_mut().push(scope.clone());
        Ok(Value::Macro(Rc::new(Closure { of: of.clone(), scope: scope.clone() })))
    }

    /// The text of a block, through its filters.
    fn filtered(&self, filter: Option<&Expr>, text: String, scope: &Rc<Scope>) -> Result<Value> {
        match filter {
            Some(filter) => self.filter(filter, Some(text.into()), scope),
            None => Ok(text.into()),
        }
    }

    fn assign(&self, target: &Target, value: Value, scope: &Rc<Scope>) -> Result<()> {
        self.meter.step()?;
        match target {
            Target::Name(name) => scope.set(name, value),
            Target::Attribute(name, attribute) => match scope.find(name) {
                Some(Value::Namespace(namespace)) => namespace.set(attribute, value),
                _ => return fail("cannot assign attribute on non-namespace object"),
            },
            Target::Tuple(targets) => {
                let items = value.items(&self.meter)?;
                if items.len() != targets.len() {
                    return fail(format!("{} values to unpack, expected {}", items.len(), targets.len()));
                }
                for (target, item) in targets.iter().zip(items) {
                    self.assign(target, item, scope)?;
                }
            }
        }
        Ok(())
    }
}

impl Context for Run {
    fn meter(&self) -> &Meter {
        &self.meter
    }

    fn date(&self) -> Date {
        self.date
    }

    fn attribute(&self, value: &Value, name: &str) -> Result<Value> {
        if let Value::Loop(state) = value
            && let Some(found) = self.loop_attribute(state, name)?
        {
            return Ok(found);
        }
        if let Some(found) = methods::attribute(value, name)? {
            return Ok(found);
        }
        if let Value::Dict(dict) = value
            && let Some(found) = dict.get_str(&name.into())
        {
            return Ok(found.clone());
        }
        Ok(self.undefined(format!("'{}' has no attribute '{name}'", value.kind())))
    }

    fn item(&self, value: &Value, key: &Value) -> Result<Value> {
        let found = match (value, key) {
            (Value::Undefined(message), _) => return fail(&**message),
            (Value::Dict(_), Value::List(_) | Value::Dict(_)) => None,
            (Value::Dict(dict), _) => dict.get(&key.key(&self.meter)?).cloned(),
            (_, key) => match key.as_int() {
                Some(index) => ops::indexed(value, index, &self.meter)?,
                None => None,
            },
        };
        if let Some(found) = found {
            return Ok(found);
        }
        if let Some(name) = key.as_str() {
            if let Value::Loop(state) = value
                && let Some(found) = self.loop_attribute(state, name)?
            {
                return Ok(found);
            }
            if let Some(found) = methods::attribute(value, name)? {
                return Ok(found);
            }
        }
        let key = super::print::repr(key, &self.meter).unwrap_or_default();
        Ok(self.undefined(format!("'{}' has no element {key}", value.kind())))
    }

    fn namespace(&self, attributes: Vec<(Text, Value)>) -> Value {
        let namespace = Rc::new(Namespace(RefCell::new(attributes)));
        self.namespaces.borrow_mut().push(namespace.clone());
        Value::Namespace(namespace)
    }
}
