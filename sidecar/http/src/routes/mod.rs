//! A router together with the list of its routes and of who may use each: so that a test can walk all of them.
//!
//! axum does not tell what is in a router. [`Routes`] is filled in its place: what writes is named as such, what asks for a token gets its guard
//! by being named, and [`walk`] tries every route as a stranger would.

pub mod walk;

#[cfg(test)]
mod tests;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::guard::Guard;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody: it changes nothing, whatever its method.
    Read,
    /// Whoever sends a signed text that counts; the handler checks it.
    SignedText,
    /// Whoever has a token; the guard checks it before the handler is called.
    Token,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path as axum has it: `/nodes/{id}`.
    pub path: String,
    /// Who may use it.
    pub access: Access,
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// A router that is being built. Methods panic, as axum's do, where a route is there already or a path is none: both are defects of the program.
#[derive(Debug, Clone)]
pub struct Routes<S = ()> {
    router: Router<S>,
    table: Vec<Route>,
    guard: Option<Guard>,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// No routes, and no guard: [`Routes::token`] panics.
    pub fn new() -> Self {
        Self { router: Router::new(), table: Vec::new(), guard: None }
    }

    /// No routes, and a guard for those that ask for a token.
    pub fn guarded(guard: Guard) -> Self {
        Self { guard: Some(guard), ..Self::new() }
    }

    /// `GET`, for anybody.
    #[must_use]
    pub fn read<H: Handler<T, S>, T: 'static>(self, path: &str, handler: H) -> Self {
        self.route(Access::Read, Method::GET, path, handler)
    }

    /// A method other than `GET` that changes nothing all the same, for anybody.
    #[must_use]
    pub fn ask<H: Handler<T, S>, T: 'static>(self, method: Method, path: &str, handler: H) -> Self {
        self.route(Access::Read, method, path, handler)
    }

    /// A route that changes something and whose handler checks a signed text first.
    #[must_use]
    pub fn signed<H: Handler<T, S>, T: 'static>(self, method: Method, path: &str, handler: H) -> Self {
        self.route(Access::SignedText, method, path, handler)
    }

    /// A route that changes something and whose caller needs a token: the guard stands before the handler.
    #[must_use]
    pub fn token<H: Handler<T, S>, T: 'static>(self, method: Method, path: &str, handler: H) -> Self {
        self.route(Access::Token, method, path, handler)
    }

    /// The general form of the others.
    #[must_use]
    pub fn route<H: Handler<T, S>, T: 'static>(self, access: Access, method: Method, path: &str, handler: H) -> Self {
        let filter = MethodFilter::try_from(method.clone()).expect("one of HTTP's own methods");
        self.method_router(access, method, path, on(filter, handler))
    }

    /// A route whose [`MethodRouter`] is there already (with layers of its own, say). It must have this one method and no other; [`walk`]
    /// finds it out if not.
    #[must_use]
    pub fn method_router(mut self, access: Access, method: Method, path: &str, router: MethodRouter<S>) -> Self {
        let router = match access {
            Access::Token => self.guard.as_ref().expect("a route for tokens needs `Routes::guarded`").protect(router),
            Access::Read | Access::SignedText => router,
        };
        self.router = self.router.route(path, router);
        self.table.push(Route { method, path: path.to_owned(), access });
        self
    }

    /// Adds the routes of another. Each keeps its own guard.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.table.extend(other.table);
        self
    }

    /// What is in it.
    pub fn table(&self) -> &[Route] {
        &self.table
    }

    /// The router, with its state, and the list.
    pub fn finish(self, state: S) -> (Router, Vec<Route>) {
        (self.router.with_state(state), self.table)
    }
}
