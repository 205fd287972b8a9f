//! Carries out a template as Jinja2 does: its scopes, loops, macros and look-ups.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
};

use super::{
    args::Args,
    ast::{Arguments, Body, Expr, For, Macro, Statement, Target, Text},
    builtin, checks,
    compare::compare,
    date::Date,
    fault::{Meter, Result, fail, unsupported},
    filters, methods, ops,
    print::text_of,
    value::{Closure, Iter, Namespace, Value},
};

/// Deepest nesting of expressions and statements while they are carried out.
const MAX_DEPTH: usize = 20_000;
/// Most macros and recursive loops inside one another; Python's recursion ends about there.
const MAX_CALLS: usize = 250;

/// Names and their values.
#[derive(Debug, Default)]
pub struct Scope {
    names: RefCell<Vec<(Text, Value)>>,
    parent: Option<Rc<Scope>>,
}

impl Scope {
    /// A scope inside another.
    fn inside(parent: &Rc<Self>) -> Rc<Self> {
        Rc::new(Self { names: RefCell::default(), parent: Some(parent.clone()) })
    }

    fn find(&self, name: &str) -> Option<Value> {
        let mut scope = Some(self);
        while let Some(current) = scope {
            let names = current.names.borrow();
            if let Some((_, value)) = names.iter().find(|(found, _)| **found == *name) {
                return Some(value.clone());
            }
            scope = current.parent.as_deref();
        }
        None
    }

    pub fn set(&self, name: &Text, value: Value) {
        let mut names = self.names.borrow_mut();
        match names.iter_mut().find(|(found, _)| found == name) {
            Some((_, old)) => *old = value,
            None => names.push((name.clone(), value)),
        }
    }
}

/// What the name `loop` means.
#[derive(Debug)]
pub struct Loop {
    source: Rc<Iter>,
    /// Of what has a length before it is gone through.
    length: Cell<Option<usize>>,
    /// The loop's condition and the scope in which it is asked.
    test: Option<(Arc<For>, Rc<Scope>)>,
    /// Items that were looked at before their turn.
    ready: RefCell<VecDeque<Value>>,
    pub index0: Cell<usize>,
    depth0: usize,
    previous: RefCell<Option<Value>>,
    /// What `changed` was last asked about.
    pub changed: RefCell<Option<Value>>,
    /// The loop to go through again when it is called, and the scope in which it stands.
    recursive: Option<(Arc<For>, Rc<Scope>)>,
}

/// How a body ended.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// One rendering.
pub struct Run {
    pub meter: Meter,
    pub date: Date,
    /// The line that is being carried out.
    line: Cell<u32>,
    depth: Cell<usize>,
    calls: Cell<usize>,
    /// What may hold itself, to be emptied at the end.
    namespaces: RefCell<Vec<Rc<Namespace>>>,
    scopes: RefCell<Vec<Rc<Scope>>>,
    /// What the template was given.
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

    /// What a body in a scope of its own writes.
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

    /// A loop over the items.
    fn each(
        &self,
        of: &Arc<For>,
        items: &Value,
        scope: &Rc<Scope>,
        depth0: usize,
        out: &mut String,
    ) -> Result<Flow> {
        let source = match items {
            Value::Iter(iter) => iter.clone(),
            _ => Rc::new(Iter(RefCell::new(items.items(&self.meter)?.into()))),
        };
        let has_length = of.test.is_none() && !matches!(items, Value::Iter(_));
        let length = has_length.then(|| source.0.borrow().len());
        let state = Rc::new(Loop {
            source,
            length: Cell::new(length),
            test: of.test.is_some().then(|| (of.clone(), scope.clone())),
            ready: RefCell::default(),
            index0: Cell::new(0),
            depth0,
            previous: RefCell::default(),
            changed: RefCell::default(),
            recursive: of.recursive.then(|| (of.clone(), scope.clone())),
        });
        let loop_name: Text = "loop".into();
        // Jinja2 takes a loop for empty whose bodies were all left early.
        let mut is_empty = true;
        let mut is_first = true;
        while let Some(item) = self.next_item(&state)? {
            if !is_first {
                state.index0.set(state.index0.get() + 1);
            }
            is_first = false;
            let inner = self.scope_of(&of.body, scope);
            self.assign(&of.target, item.clone(), &inner)?;
            inner.set(&loop_name, Value::Loop(state.clone()));
            match self.body(&of.body, &inner, out)? {
                Flow::Break => break,
                Flow::Continue => {}
                Flow::Next => is_empty = false,
            }
            state.previous.replace(Some(item));
        }
        if is_empty {
            return self.body(&of.otherwise, &self.scope_of(&of.otherwise, scope), out);
        }
        Ok(Flow::Next)
    }

    fn next_item(&self, state: &Loop) -> Result<Option<Value>> {
        let ready = state.ready.borrow_mut().pop_front();
        if ready.is_some() { Ok(ready) } else { self.pull(state) }
    }

    /// The next item that the loop's condition lets through.
    fn pull(&self, state: &Loop) -> Result<Option<Value>> {
        while let Some(item) = state.source.next() {
            self.meter.step()?;
            let Some((of, scope)) = &state.test else { return Ok(Some(item)) };
            let inner = Scope::inside(scope);
            self.assign(&of.target, item.clone(), &inner)?;
            if let Some(test) = &of.test
                && self.eval(test, &inner)?.is_truthy()
            {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    fn peek(&self, state: &Loop) -> Result<Option<Value>> {
        let ready = state.ready.borrow().front().cloned();
        if ready.is_some() {
            return Ok(ready);
        }
        let next = self.pull(state)?;
        state.ready.borrow_mut().extend(next.clone());
        Ok(next)
    }

    fn loop_length(&self, state: &Loop) -> Result<usize> {
        if let Some(length) = state.length.get() {
            return Ok(length);
        }
        while let Some(item) = self.pull(state)? {
            state.ready.borrow_mut().push_back(item);
        }
        let length = state.index0.get() + 1 + state.ready.borrow().len();
        state.length.set(Some(length));
        Ok(length)
    }

    /// An attribute of `loop`; none if there is none of that name.
    fn loop_attribute(&self, state: &Loop, name: &str) -> Result<Option<Value>> {
        let index0 = state.index0.get();
        let undefined = |what: &str| Value::Undefined(format!("there is no {what} item").into());
        Ok(Some(match name {
            "index" => Value::size(index0 + 1),
            "index0" => Value::size(index0),
            "revindex" => Value::size(self.loop_length(state)? - index0),
            "revindex0" => Value::size(self.loop_length(state)? - index0 - 1),
            "length" => Value::size(self.loop_length(state)?),
            "first" => (index0 == 0).into(),
            "last" => self.peek(state)?.is_none().into(),
            "depth" => Value::size(state.depth0 + 1),
            "depth0" => Value::size(state.depth0),
            "previtem" => state.previous.borrow().clone().unwrap_or_else(|| undefined("previous")),
            "nextitem" => self.peek(state)?.unwrap_or_else(|| undefined("next")),
            _ => return Ok(None),
        }))
    }

    /// The value of an expression.
    fn eval(&self, expr: &Expr, scope: &Rc<Scope>) -> Result<Value> {
        self.deeper(|| self.value(expr, scope))
    }

    fn all(&self, exprs: &[Expr], scope: &Rc<Scope>) -> Result<Vec<Value>> {
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
    fn filter(&self, expr: &Expr, input: Option<Value>, scope: &Rc<Scope>) -> Result<Value> {
        let Expr::Filter(of, name, arguments) = expr else { return self.eval(expr, scope) };
        let of = match (of, input) {
            (Some(of), input) => self.deeper(|| self.filter(of, input, scope))?,
            (None, Some(input)) => input,
            (None, None) => return fail("a filter of nothing"),
        };
        filters::call(self, name, of, self.arguments(arguments, scope)?)
    }

    fn undefined(&self, message: String) -> Value {
        Value::Undefined(message.into())
    }

    /// `value.name`: an attribute, else an item.
    pub fn attribute(&self, value: &Value, name: &str) -> Result<Value> {
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

    /// `value[key]`: an item, else an attribute.
    pub fn item(&self, value: &Value, key: &Value) -> Result<Value> {
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

    fn arguments(&self, arguments: &Arguments, scope: &Rc<Scope>) -> Result<Args> {
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

    fn call(
        &self,
        function: &Expr,
        arguments: &Arguments,
        caller: Option<Value>,
        scope: &Rc<Scope>,
    ) -> Result<Value> {
        let function = self.eval(function, scope)?;
        let mut args = self.arguments(arguments, scope)?;
        args.named.extend(caller.map(|caller| (Text::from("caller"), caller)));
        match &function {
            Value::Method(method) => methods::call(self, &method.0, method.1, args),
            Value::Function(function) => builtin::call(self, *function, args),
            Value::Macro(closure) => self.expand(closure, args).map(Value::from),
            Value::Loop(state) => {
                let [items] = args.bind("loop", ["iterable"], 1)?;
                let Some((of, outer)) = &state.recursive else {
                    return fail("the loop must have the 'recursive' marker to be called recursively");
                };
                let items = items.expect("it is required");
                self.called(|| {
                    let mut out = String::new();
                    self.each(of, &items, outer, state.depth0 + 1, &mut out)?;
                    Ok(out.into())
                })
            }
            Value::Joiner(joiner) => {
                let [] = args.bind("joiner", [], 0)?;
                Ok(if joiner.used.replace(true) { joiner.separator.clone() } else { "".into() })
            }
            Value::Undefined(message) => fail(&**message),
            other => fail(format!("'{}' object is not callable", other.kind())),
        }
    }

    /// Carries out a call, if not too many are under way.
    fn called<T>(&self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        let calls = self.calls.get() + 1;
        if calls > MAX_CALLS {
            return fail("maximum recursion depth exceeded");
        }
        self.calls.set(calls);
        let result = call();
        self.calls.set(calls - 1);
        result
    }

    /// The text of a macro.
    fn expand(&self, closure: &Closure, args: Args) -> Result<String> {
        let of = &closure.of;
        let scope = self.scope_of(&of.body, &closure.scope);
        let Args { positional, mut named } = args;
        let mut take = |name: &str| {
            let at = named.iter().position(|(found, _)| **found == *name)?;
            Some(named.remove(at).1)
        };
        let mut positional = positional.into_iter();
        let mut defaults = Vec::new();
        for (name, default) in &of.parameters {
            let value = positional.next().or_else(|| take(name)).unwrap_or_else(|| {
                defaults.extend(default.as_ref().map(|default| (name, default)));
                self.undefined(format!("parameter '{name}' was not provided"))
            });
            scope.set(name, value);
        }
        let special = |name: &str| -> Text { name.into() };
        if of.caller {
            let caller = take("caller").unwrap_or_else(|| self.undefined("No caller defined".into()));
            scope.set(&special("caller"), caller);
        }
        if of.kwargs {
            let entries = named.drain(..).map(|(name, value)| (Value::Str(name), value));
            scope.set(&special("kwargs"), Value::dict(entries.collect::<Vec<_>>(), &self.meter)?);
        }
        if let Some((name, _)) = named.first() {
            return fail(format!("the macro takes no keyword argument '{name}'"));
        }
        let rest: Vec<_> = positional.collect();
        if of.varargs {
            scope.set(&special("varargs"), Value::tuple(rest)?);
        } else if !rest.is_empty() {
            return fail(format!("the macro takes not more than {} argument(s)", of.parameters.len()));
        }
        for (name, default) in defaults {
            let value = self.eval(default, &scope)?;
            scope.set(name, value);
        }
        self.called(|| {
            let mut out = String::new();
            self.body(&of.body, &scope, &mut out)?;
            Ok(out)
        })
    }

    /// A namespace, which the run empties at its end.
    pub fn namespace(&self, attributes: Vec<(Text, Value)>) -> Value {
        let namespace = Rc::new(Namespace(RefCell::new(attributes)));
        self.namespaces.borrow_mut().push(namespace.clone());
        Value::Namespace(namespace)
    }
}
