//! What is made of a password is compared in constant time: `secret::is_equal`, which is aws-lc's,
//! or `wire::auth`'s own.
//!
//! It goes by names: whoever calls a token something else escapes it. Called by nobody.

use super::check;
use super::hold;
use super::token::{Token, tokens};
use super::tree::{File, sources};

/// What a secret, and what is made of one, is called here.
const NAMES: [&str; 7] =
    ["password", "token", "stage1", "stage2", "verifier", "native", "scrambled"];
/// Where secrets are.
const PLACES: [&str; 5] =
    ["src/wire/auth", "src/secret", "src/client/greet", "src/admin/console", "src/backend/dial"];

fn compares_in_constant_time(file: &File) -> Vec<String> {
    if file.is_test() || !PLACES.iter().any(|place| file.path.starts_with(place)) {
        return Vec::new();
    }
    let tokens = tokens(&file.shipped());
    let is_secret =
        |token: Option<&Token>| token.is_some_and(|token| NAMES.iter().any(|name| token.is(name)));
    let mut found = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        let [first, second] = pair else { continue };
        let compares = second.is("=") && (first.is("=") || first.is("!"));
        // `==` and `!=` are two marks each; `<=` and `=>` are none of them.
        if compares && (is_secret(tokens.get(at.wrapping_sub(1))) || is_secret(tokens.get(at + 2)))
        {
            found.push(format!("line {}: secrets are compared by `is_equal`", first.line));
        }
    }
    found
}

#[test]
fn secrets_are_compared_in_constant_time() {
    hold(&sources(), compares_in_constant_time);
    let auth = |text: &str, expected: &str| {
        check(compares_in_constant_time, "src/wire/auth.rs", text, expected);
    };
    auth("fn f() { token == other }", "by `is_equal`");
    auth("fn f() { theirs != password }", "by `is_equal`");
    auth("fn f() { entry.known.verifier == known.verifier }", "by `is_equal`");
    auth("fn f() { is_equal(token, other) }", "");
    auth("fn f() { let token = other; f(|password| password) }", "");
    auth("fn f() { match token { it => token_len == 3 } }", "");
    check(compares_in_constant_time, "src/sql/token.rs", "fn f() { token == other }", "");
    let calls = |path: &str, name: &str| {
        let file = super::tree::one(path);
        file.shipped().contains(name)
    };
    assert!(calls("src/secret.rs", "constant_time::verify_slices_are_equal"));
    assert!(calls("src/secret/credentials.rs", "is_equal(ours, password)"));
    assert!(calls("src/wire/auth.rs", "black_box(difference)"));
}
