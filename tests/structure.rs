//! The rule of who may know whom (`crate::…` paths), and that what must run without Kubernetes does
//! not name its crates. A module that this table does not list may know nobody.

use std::fs;
use std::path::{Path, PathBuf};

/// Each module and those it may know besides itself.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("gate", &[]),
    ("api", &[]),
    ("plan", &["api", "model"]),
    ("proxy", &["model", "gate"]),
    ("drain", &["model", "gate"]),
    ("source", &["api", "plan", "model"]),
    ("controller", &["api", "plan", "model"]),
    ("admission", &["api", "plan", "model"]),
    ("tls_port", &[]),
    // It shows what others hold: their handles and reports.
    ("admin", &["model", "drain", "plan", "source", "proxy"]),
];
/// These know everybody.
const KNOW_ALL: &[&str] = &["app", "cli", "lib", "main"];
/// These never name Kubernetes' crates.
const WITHOUT_KUBERNETES: &[&str] = &["model", "gate", "proxy", "drain", "plan"];

/// The faults of one file: `module` is the first part of its path under `src/`.
fn faults(module: &str, text: &str) -> Vec<String> {
    let code = without_comments(text);
    let mut faults = Vec::new();
    if !KNOW_ALL.contains(&module) {
        let allowed = MAY_KNOW
            .iter()
            .find(|(name, _)| *name == module)
            .map_or(&[][..], |(_, allowed)| allowed);
        for known in crate_paths(&code) {
            if known != module && !allowed.contains(&known.as_str()) {
                faults.push(format!("{module} may not know {known}"));
            }
        }
    }
    if WITHOUT_KUBERNETES.contains(&module) {
        for word in ["kube", "k8s_openapi", "kube_cel"] {
            if names_crate(&code, word) {
                faults.push(format!("{module} may not know the crate {word}"));
            }
        }
    }
    faults
}

/// The first names of all paths that begin with `crate::`, those in braces included.
fn crate_paths(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate") {
        if !is_word(code, at, 5) {
            continue;
        }
        let Some(rest) = code[at + 5..].trim_start().strip_prefix("::") else {
            continue;
        };
        let rest = rest.trim_start();
        match rest.strip_prefix('{') {
            None => names.push(first_name(rest)),
            Some(inner) => names.extend(top_level(inner).iter().map(|part| first_name(part))),
        }
    }
    names
}

/// The parts between the commas of a brace that has been opened, up to where it closes.
fn top_level(inner: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn first_name(path: &str) -> String {
    path.trim_start()
        .chars()
        .take_while(|c| is_name(*c))
        .collect()
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether the text at that place is a word of its own.
fn is_word(code: &str, at: usize, length: usize) -> bool {
    let before = code[..at].chars().next_back();
    let after = code[at + length..].chars().next();
    !before.is_some_and(is_name) && !after.is_some_and(is_name)
}

/// Whether a path begins with the crate's name.
fn names_crate(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let path = code[at + word.len()..].trim_start();
        is_word(code, at, word.len())
            && (path.starts_with("::") || path.starts_with(';') || path.starts_with("as "))
    })
}

/// Takes out comments and what stands in double quotes.
fn without_comments(text: &str) -> String {
    let mut code = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '/' if chars.peek() == Some(&'/') => while chars.next_if(|c| *c != '\n').is_some() {},
            '/' if chars.peek() == Some(&'*') => {
                let mut last = ' ';
                for c in chars.by_ref() {
                    if last == '*' && c == '/' {
                        break;
                    }
                    last = c;
                }
            }
            '\'' if chars.peek() == Some(&'"') => {
                chars.next();
            }
            '"' => {
                while let Some(c) = chars.next() {
                    match c {
                        '\\' => {
                            chars.next();
                        }
                        '"' => break,
                        _ => {}
                    }
                }
            }
            other => code.push(other),
        }
    }
    code
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_module_knows_only_whom_it_may() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    assert!(
        files.len() > 20,
        "the files are looked for in the right place"
    );
    let mut all = Vec::new();
    for file in files {
        let inner = file.strip_prefix(&src).unwrap();
        let first = inner.iter().next().unwrap().to_str().unwrap();
        let module = first.strip_suffix(".rs").unwrap_or(first);
        let text = fs::read_to_string(&file).unwrap();
        for fault in faults(module, &text) {
            all.push(format!("{}: {fault}", inner.display()));
        }
    }
    assert!(
        all.is_empty(),
        "the layout's rule (docs/architecture.md) is broken:\n{}",
        all.join("\n")
    );
}

#[test]
fn a_violation_is_found() {
    for (module, text, fault) in [
        (
            "model",
            "use crate::proxy::Route;",
            "model may not know proxy",
        ),
        (
            "gate",
            "fn f() { crate::drain::close() }",
            "gate may not know drain",
        ),
        (
            "plan",
            "use crate::{api, drain::{Handle, self}};",
            "plan may not know drain",
        ),
        ("proxy", "use crate :: api;", "proxy may not know api"),
        (
            "drain",
            "pub(crate) use crate::\n    source::Loaded;",
            "drain may not know source",
        ),
        (
            "newcomer",
            "use crate::model::Snapshot;",
            "newcomer may not know model",
        ),
        (
            "drain",
            "use kube::Client;",
            "drain may not know the crate kube",
        ),
        (
            "proxy",
            "fn f(t: k8s_openapi::Metadata) {}",
            "proxy may not know the crate k8s_openapi",
        ),
        (
            "model",
            "use kube as client;",
            "model may not know the crate kube",
        ),
        (
            "plan",
            "use kube::ResourceExt;",
            "plan may not know the crate kube",
        ),
    ] {
        assert_eq!(faults(module, text), [fault], "{text}");
    }
}

#[test]
fn what_is_allowed_and_what_is_only_talked_of_is_no_violation() {
    for (module, text) in [
        ("plan", "use crate::{api, model::{Snapshot, Route}};"),
        (
            "model",
            "//! See crate::proxy, which uses kube::Client.\nuse crate::model::Target;",
        ),
        (
            "model",
            "/* crate::proxy */ const A: &str = \"crate::proxy \\\" kube::Client\";",
        ),
        (
            "drain",
            "use crate::gate::Gate; // not crate::proxy\nlet q = '\"'; use crate::model::Target;",
        ),
        ("gate", "pub(crate) fn f(kube: u8, my_kube_thing: u8) {}"),
        ("app", "use crate::{proxy, drain, source};"),
        ("cli", "use kube::Client;"),
    ] {
        assert_eq!(faults(module, text), [""; 0], "{text}");
    }
}
