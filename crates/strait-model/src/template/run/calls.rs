//! Calls: of functions, methods, macros and recursive loops.

use std::rc::Rc;

use super::{MAX_CALLS, Run};
use crate::template::{
    args::Args,
    ast::{Arguments, Expr, Text},
    builtin,
    fault::{Result, fail},
    methods,
    value::{Closure, Scope, Value},
};

impl Run {
    pub(super) fn call(
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
}
