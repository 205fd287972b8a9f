//! Loops, and the variable `loop`.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use super::{Flow, Run};
use crate::template::{
    ast::{For, Text},
    fault::Result,
    value::{Iter, Loop, Scope, Value},
};

impl Run {
    /// A loop over the items.
    pub(super) fn each(
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
    pub(super) fn loop_attribute(&self, state: &Loop, name: &str) -> Result<Option<Value>> {
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
}
