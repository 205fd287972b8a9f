//! The checks of Jinja2's compiler before it runs a template: names that a scope assigns before it reads them, which there
//! hide what the template was given from the beginning, and filters and tests that do not exist.

use std::collections::HashSet;
use std::sync::Arc;

use super::{
    ast::{Arguments, Body, Expr, Macro, Statement, Target, Text},
    fault::Fault,
    names::{FILTERS, TESTS},
};

/// The names that a scope and those around it know.
struct Names<'p> {
    own: HashSet<Text>,
    outer: Option<&'p Names<'p>>,
    /// Names that are assigned before anything else is done with them.
    unset: Vec<Text>,
}

impl<'p> Names<'p> {
    fn inside(outer: Option<&'p Self>) -> Self {
        Self { own: HashSet::new(), outer, unset: Vec::new() }
    }

    fn knows(&self, name: &Text) -> bool {
        self.own.contains(name) || self.outer.is_some_and(|outer| outer.knows(name))
    }

    fn declare(&mut self, name: &Text) {
        self.own.insert(name.clone());
    }

    fn load(&mut self, name: &Text) {
        if !self.knows(name) {
            self.declare(name);
        }
    }

    /// An assignment; one in a branch of `if` may not be made.
    fn store(&mut self, name: &Text, in_branch: bool) {
        if !in_branch && !self.knows(name) {
            self.unset.push(name.clone());
        }
        self.declare(name);
    }

    fn target(&mut self, target: &Target, in_branch: bool) {
        match target {
            Target::Name(name) => self.store(name, in_branch),
            Target::Attribute(name, _) => self.load(name),
            Target::Tuple(targets) => targets.iter().for_each(|target| self.target(target, in_branch)),
        }
    }

    fn parameters(&mut self, target: &Target) {
        match target {
            Target::Name(name) | Target::Attribute(name, _) => self.declare(name),
            Target::Tuple(targets) => targets.iter().for_each(|target| self.parameters(target)),
        }
    }

    fn loads(&mut self, expr: &Expr) {
        each(expr, &mut |part| {
            if let Expr::Name(name) = part {
                self.load(name);
            }
        });
    }
}

/// Notes in each body which names it hides.
///
/// # Errors
/// With the line of a filter or test that does not exist where it is sure to be asked for.
pub fn resolve(body: &mut Body) -> Result<(), (Fault, u32)> {
    scope(body, Names::inside(None))
}

/// A body with a scope of its own.
fn scope(body: &mut Body, mut names: Names) -> Result<(), (Fault, u32)> {
    collect(body, &mut names, false);
    body.unset = std::mem::take(&mut names.unset);
    nested(body, &names, false)
}

/// The names that a scope itself sets and reads, in the order of its statements.
fn collect(body: &Body, names: &mut Names, in_branch: bool) {
    for node in &body.nodes {
        match &node.statement {
            Statement::Print(expr) | Statement::CallBlock { call: expr, .. } => names.loads(expr),
            Statement::FilterBlock { filter, .. } => names.loads(filter),
            Statement::For(of) => names.loads(&of.items),
            Statement::If { branches, otherwise } => {
                // The tests of later branches are asked inside the earlier ones' `else`.
                for (test, body) in branches {
                    names.loads(test);
                    collect(body, names, true);
                }
                collect(otherwise, names, true);
            }
            Statement::Set(target, expr) => {
                names.loads(expr);
                names.target(target, in_branch);
            }
            Statement::SetBlock { target, .. } => names.target(target, in_branch),
            Statement::With { values, .. } => values.iter().for_each(|(_, expr)| names.loads(expr)),
            Statement::Macro(of) => of.name.iter().for_each(|name| names.store(name, in_branch)),
            _ => {}
        }
    }
}

/// The scopes inside a body.
fn nested(body: &mut Body, names: &Names, is_soft: bool) -> Result<(), (Fault, u32)> {
    for node in &mut body.nodes {
        let line = node.line;
        let sure = |expr: &Expr| known(expr, is_soft).map_err(|fault| (fault, line));
        let firm = |expr: &Expr| known(expr, false).map_err(|fault| (fault, line));
        match &mut node.statement {
            Statement::Print(expr) | Statement::Set(_, expr) => sure(expr)?,
            Statement::For(of) => {
                let of = Arc::get_mut(of).expect("a new tree shares nothing");
                sure(&of.items)?;
                of.test.iter().try_for_each(firm)?;
                let mut inner = Names::inside(Some(names));
                inner.declare(&"loop".into());
                inner.parameters(&of.target);
                scope(&mut of.body, inner)?;
                scope(&mut of.otherwise, Names::inside(Some(names)))?;
            }
            Statement::If { branches, otherwise } => {
                for (_, body) in branches {
                    nested(body, names, true)?;
                }
                nested(otherwise, names, true)?;
            }
            Statement::SetBlock { filter, body, .. } => {
                filter.iter().try_for_each(firm)?;
                scope(body, Names::inside(Some(names)))?;
            }
            Statement::FilterBlock { filter, body } => {
                firm(filter)?;
                scope(body, Names::inside(Some(names)))?;
            }
            Statement::With { values, body } => {
                let mut inner = Names::inside(Some(names));
                for (target, expr) in values {
                    sure(expr)?;
                    inner.parameters(target);
                }
                scope(body, inner)?;
            }
            Statement::Macro(of) => function(of, names, line)?,
            Statement::CallBlock { caller, call } => {
                sure(call)?;
                function(caller, names, line)?;
            }
            Statement::Generation(body) => scope(body, Names::inside(Some(names)))?,
            _ => {}
        }
    }
    Ok(())
}

fn function(of: &mut Arc<Macro>, names: &Names, line: u32) -> Result<(), (Fault, u32)> {
    let of = Arc::get_mut(of).expect("a new tree shares nothing");
    let mut inner = Names::inside(Some(names));
    for name in ["caller", "kwargs", "varargs"] {
        inner.declare(&name.into());
    }
    for (name, default) in &of.parameters {
        inner.declare(name);
        if let Some(default) = default {
            known(default, false).map_err(|fault| (fault, line))?;
        }
    }
    scope(&mut of.body, inner)
}

/// Checks that all filters and tests exist that are sure to be asked for: what stands in a condition is looked for later.
fn known(expr: &Expr, is_soft: bool) -> Result<(), Fault> {
    if is_soft {
        return Ok(());
    }
    let mut missing = None;
    each_firm(expr, &mut |part| match part {
        Expr::Filter(_, name, _) if !FILTERS.contains(&&**name) => missing = Some(("filter", name.clone())),
        Expr::Test(_, name, _) if !TESTS.contains(&&**name) => missing = Some(("test", name.clone())),
        _ => {}
    });
    match missing {
        Some((kind, name)) => Err(Fault::Syntax(format!("no {kind} named '{name}'"))),
        None => Ok(()),
    }
}

/// An expression and all parts of it.
fn each(expr: &Expr, visit: &mut dyn FnMut(&Expr)) {
    visit(expr);
    parts(expr, &mut |part| each(part, visit));
}

/// The same without conditional expressions.
fn each_firm(expr: &Expr, visit: &mut dyn FnMut(&Expr)) {
    if !matches!(expr, Expr::Conditional { .. }) {
        visit(expr);
        parts(expr, &mut |part| each_firm(part, visit));
    }
}

/// The expressions of which an expression is made.
fn parts(expr: &Expr, visit: &mut dyn FnMut(&Expr)) {
    let arguments = |of: &Arguments, visit: &mut dyn FnMut(&Expr)| {
        let named = of.named.iter().map(|(_, expr)| expr);
        of.positional.iter().chain(named).chain(&of.more).chain(&of.more_named).for_each(&mut *visit);
    };
    match expr {
        Expr::None | Expr::Bool(_) | Expr::Int(_) | Expr::Float(_) | Expr::Str(_) | Expr::Name(_) => {}
        Expr::NamespaceRef(..) => {}
        Expr::Tuple(items) | Expr::List(items) | Expr::Concat(items) => items.iter().for_each(visit),
        Expr::Dict(entries) => entries.iter().for_each(|(key, value)| {
            visit(key);
            visit(value);
        }),
        Expr::Conditional { test, then, otherwise } => {
            visit(test);
            visit(then);
            otherwise.iter().for_each(|expr| visit(expr));
        }
        Expr::And(a, b) | Expr::Or(a, b) | Expr::Binary(_, a, b) | Expr::Item(a, b) => {
            visit(a);
            visit(b);
        }
        Expr::Not(of) | Expr::Negative(of) | Expr::Positive(of) | Expr::Attribute(of, _) => visit(of),
        Expr::Compare(first, others) => {
            visit(first);
            others.iter().for_each(|(_, expr)| visit(expr));
        }
        Expr::Slice(of, bounds) => {
            visit(of);
            bounds.iter().flatten().for_each(|expr| visit(expr));
        }
        Expr::Call(of, of_call) => {
            visit(of);
            arguments(of_call, visit);
        }
        Expr::Filter(of, _, of_filter) => {
            of.iter().for_each(|expr| visit(expr));
            arguments(of_filter, visit);
        }
        Expr::Test(of, _, of_test) => {
            visit(of);
            arguments(of_test, visit);
        }
    }
}
