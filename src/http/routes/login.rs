//! Logging in and out: a key for a cookie that scripts can't read and other sites can't send.

use super::{object, text};
use crate::clock::Wall;
use crate::http::access::COOKIE;
use crate::http::problem::{Problem, problem};
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use crate::limits;
use serde_json::json;

pub(crate) fn login(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let address = request.peer.ip();
    request.shared.logins.may_try(address).map_err(|seconds| {
        problem(
            429,
            "too_many_logins",
            "Too many failed logins",
            format!("too many failed logins from here; try again in {seconds} s"),
        )
        .retry_after(seconds)
    })?;
    let body = object(request)?;
    let Some(key) = text(&body, "key")? else {
        return Err(problem(400, "missing_field", "Missing field", "key is missing; expected a string")
            .with("field", "key"));
    };
    let Some(info) = request.shared.parts.keys.verify(key.trim()) else {
        request.shared.logins.failed(address);
        return Err(problem(
            401,
            "unknown_key",
            "Unknown key",
            "there is no such key; `telltale key make` makes one",
        ));
    };
    let expiry = Wall::now().0 / 1000 + limits::LOGIN_TIME.as_secs();
    let cookie = request.shared.parts.keys.cookie(&info, expiry);
    let cookie = format!(
        "{COOKIE}={cookie}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict",
        limits::LOGIN_TIME.as_secs()
    );
    Ok(Reply::json(200, &json!({ "name": info.name, "role": info.role })).header("Set-Cookie", cookie).into())
}

pub(crate) fn logout(_: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let cookie = format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    Ok(Reply::json(200, &json!({})).header("Set-Cookie", cookie).into())
}
