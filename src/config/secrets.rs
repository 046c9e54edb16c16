//! Secrets of the configuration: what is shown of them, and how they are kept when a text comes back. Pure.
//!
//! A value is a secret when its key ends in `token`, `secret` or `password`, is `authorization`, or is a header of a
//! request. Shown it is `***`; a text that comes back with `***` there keeps what the file has.

use regex_lite::Regex;
use std::collections::BTreeMap;
use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

/// What is shown instead of a secret.
pub(super) const HIDDEN: &str = "***";

/// Where a secret is: keys, and for an item of a list its `id` or `name`, or its number.
type Path = Vec<String>;

/// The text as it may be shown. Where it is no TOML, whatever looks like a secret is hidden.
pub(super) fn hide(text: &str) -> String {
    match text.parse::<DocumentMut>() {
        Ok(mut document) => {
            each(&mut document, &mut |_, value| set(value, HIDDEN));
            document.to_string()
        }
        Err(_) => {
            let looks = r#"(?i)((?:token|secret|password|authorization)["']?\s*=\s*)("""[\s\S]*?"""|'''[\s\S]*?'''|"(?:[^"\\\n]|\\.)*"?|'[^'\n]*'?|[^\s#]+)"#;
            match Regex::new(looks) {
                Ok(regex) => regex.replace_all(text, format!("${{1}}\"{HIDDEN}\"")).into_owned(),
                Err(_) => String::new(),
            }
        }
    }
}

/// Puts the secrets of `kept` where `document` has `***`; gives the keys for which there is none.
pub(super) fn restore(document: &mut DocumentMut, kept: &str) -> Vec<String> {
    let mut secrets: BTreeMap<Path, String> = BTreeMap::new();
    if let Ok(mut kept) = kept.parse::<DocumentMut>() {
        each(&mut kept, &mut |path, value| {
            secrets.insert(path.to_vec(), value.as_str().unwrap_or_default().to_string());
        });
    }
    let mut lacking = Vec::new();
    each(document, &mut |path, value| {
        if value.as_str() == Some(HIDDEN) {
            match secrets.get(path) {
                Some(secret) => set(value, secret),
                None => lacking.push(path.join(".")),
            }
        }
    });
    lacking
}

/// Replaces a value where it stands, comments included.
fn set(value: &mut Value, text: &str) {
    let decor = value.decor().clone();
    *value = Value::from(text);
    *value.decor_mut() = decor;
}

pub(super) fn is_secret(name: &str, parent: Option<&str>) -> bool {
    let name = name.to_ascii_lowercase();
    ["token", "secret", "password"].iter().any(|end| name.ends_with(end))
        || name == "authorization"
        || parent == Some("headers")
}

/// Visits every secret text that is not empty.
fn each(document: &mut DocumentMut, visit: &mut impl FnMut(&[String], &mut Value)) {
    table(document.as_table_mut(), &mut Vec::new(), visit);
}

fn table(table: &mut Table, path: &mut Path, visit: &mut impl FnMut(&[String], &mut Value)) {
    for (key, item) in table.iter_mut() {
        path.push(key.get().to_string());
        match item {
            Item::Table(inner) => self::table(inner, path, visit),
            Item::ArrayOfTables(list) => {
                for (n, inner) in list.iter_mut().enumerate() {
                    path.push(name_of(inner, n));
                    self::table(inner, path, visit);
                    path.pop();
                }
            }
            Item::Value(inner) => value(inner, path, visit),
            Item::None => {}
        }
        path.pop();
    }
}

fn value(of: &mut Value, path: &mut Path, visit: &mut impl FnMut(&[String], &mut Value)) {
    match of {
        Value::InlineTable(inner) => {
            for (key, inner) in inner.iter_mut() {
                path.push(key.get().to_string());
                value(inner, path, visit);
                path.pop();
            }
        }
        Value::Array(list) => {
            for (n, inner) in list.iter_mut().enumerate() {
                let name = inner.as_inline_table().map_or_else(|| n.to_string(), |t| name_of(t, n));
                path.push(name);
                value(inner, path, visit);
                path.pop();
            }
        }
        Value::String(text) => {
            let parent = path.len().checked_sub(2).and_then(|n| path.get(n));
            let secret = path.last().is_some_and(|name| is_secret(name, parent.map(String::as_str)));
            if secret && !text.value().is_empty() {
                visit(path, of);
            }
        }
        _ => {}
    }
}

/// What an item of a list is called, so that it is the same one when the list is put in another order.
fn name_of(table: &impl TableLike, n: usize) -> String {
    let named = ["id", "name"].iter().find_map(|key| table.get(key)?.as_str());
    named.map_or_else(|| n.to_string(), str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = r#"# The van.
name = "van"   # shown
[[ntfy]]
id = "a"
token = "tk_one" # from the server
[[ntfy]]
id = "b"
token = 'tk_two'
[[webhook]]
id = "w"
headers = { X-Key = "abc", Authorization = "Bearer x" }
secret = ""
"#;

    #[test]
    fn secrets_are_hidden_and_kept_when_they_come_back() {
        let shown = hide(FILE);
        for secret in ["tk_one", "tk_two", "abc", "Bearer x"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("token = \"***\" # from the server"), "{shown}");
        assert!(shown.contains("name = \"van\"   # shown") && shown.contains("secret = \"\""));
        let back = |text: &str| {
            let mut document = text.parse::<DocumentMut>().unwrap();
            let lacking = restore(&mut document, FILE);
            (document.to_string(), lacking)
        };
        let (text, lacking) = back(&shown);
        assert_eq!((text.replace('\'', "\""), lacking), (FILE.replace('\'', "\""), vec![]));
        // In another order, and one of them new.
        let (text, lacking) =
            back("[[ntfy]]\nid = \"b\"\ntoken = \"***\"\n[[ntfy]]\nid = \"c\"\ntoken = \"***\"\n");
        assert!(text.contains("tk_two"), "{text}");
        assert_eq!(lacking, ["ntfy.c.token"]);
        let (text, _) = back("[[ntfy]]\nid = \"a\"\ntoken = \"new\"\n");
        assert!(text.contains("\"new\"") && !text.contains("tk_one"));
    }

    #[test]
    fn what_is_no_toml_hides_what_looks_like_a_secret() {
        let shown = hide(
            "[[ntfy]\ntoken = \"tk_one\" # c\n'password' = 'p w'\nheaders = { Authorization = \"Bearer x\" }\nsecret=bare\nname = \"van\"\n",
        );
        for secret in ["tk_one", "p w", "Bearer", "bare"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("# c") && shown.contains("name = \"van\""), "{shown}");
    }

    proptest! {
        #[test]
        fn no_secret_is_shown_whatever_is_around_it(before in "[ -~\\n]{0,60}", secret in "[a-zA-Z0-9]{6,20}", after in "[ -~\\n]{0,60}") {
            let unlucky = format!("{before}{after}").contains(&secret);
            let shown = hide(&format!("{before}\ntoken = \"{secret}\"\n{after}"));
            // Behind an opened quote of several lines, what looks like a key is text.
            prop_assume!(!unlucky && !before.contains("\"\"\"") && !before.contains("'''"));
            prop_assert!(!shown.contains(&secret), "{}", shown);
        }
    }
}
