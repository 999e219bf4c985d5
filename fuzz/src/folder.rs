//! Folders of YAML made of a fuzzer's choices, and what must hold of a folder that is read again: it is taken whole,
//! or it changes nothing that runs (Law 4).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use lastcall::plan::{Facts, Objects, plan};
use lastcall::source::directory::after;
use lastcall::source::door::Door;
use lastcall::source::{Files, Loaded};

use crate::{Choices, Shown, message_with};

/// Pieces that mean something to a reader of YAML, to the schema, or to its rules.
const PIECES: &[&[u8]] = &[
    b"\n---\n",
    b"\n...\n",
    b"\n",
    b"\r\n",
    b"\t",
    b"  ",
    b": ",
    b"- ",
    b"? ",
    b"{",
    b"}",
    b"[",
    b"]",
    b", ",
    b"#",
    b"&a ",
    b"*a",
    b"<<: *a",
    b"!!str ",
    b"!!binary ",
    b"!x ",
    b"|\n",
    b">-\n",
    b"'",
    b"\"",
    b"\\u0000",
    b"%YAML 1.1\n",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\0",
    b"~",
    b"null",
    b"true",
    b"yes",
    b"0",
    b"-1",
    b"0x10",
    b"1e400",
    b".nan",
    b"9223372036854775808",
    b"18446744073709551616",
    b"1.5",
    b"2026-01-01",
    b"apiVersion: lastcall.dev/v1alpha1\n",
    b"kind: Backend\n",
    b"kind: LoadBalancer\n",
    b"kind: List\n",
    b"metadata: {name: a}\n",
    b"metadata: {name: a, namespace: b}\n",
    b"spec:\n",
    b"status: {}\n",
    b"  static: [{address: 127.0.0.1, port: 81}]\n",
    b"  listeners: [{name: a, port: 80, protocol: HTTP}]\n",
    b"port: 0",
    b"port: 65536",
    b"protocol: TCP",
    b"protocol: TLS",
    b"defaultBackend: {name: web}",
    b"name: web",
    b"routes: [{matches: [{path: {type: RegularExpression, value: '(((a{99}){99}){99})'}}]}]",
    b"weight: 0",
    b"timeouts: {idle: 1s}",
    b"10s",
    b"1h",
    b"-1s",
    b"hostname: '*.a'",
    b"tls: {certificateRefs: [{name: own}]}",
    b"allowedSources: [10.0.0.0/33]",
    b"allowedSources: ['::/0']",
    b"connectionDraining: {timeoutSeconds: 3601}",
];

/// Files to begin with.
const SEEDS: &[&str] = &[
    "apiVersion: lastcall.dev/v1alpha1\nkind: Backend\nmetadata: {name: web}\nspec:\n  static: [{address: 127.0.0.1, port: 81}]\n",
    "apiVersion: lastcall.dev/v1alpha1\nkind: LoadBalancer\nmetadata: {name: shop}\nspec:\n  listeners: [{name: http, port: 80, protocol: HTTP}]\n  defaultBackend: {name: web}\n",
];

/// What is read again and again, and what runs.
pub struct Folder {
    door: Door,
    seeds: Vec<Vec<u8>>,
    before: Loaded,
}

impl Folder {
    /// One whose one Backend runs.
    pub fn new() -> Self {
        let nothing = Loaded {
            objects: Arc::new(Objects::default()),
            origins: Arc::new(BTreeMap::new()),
            secrets: Arc::new(BTreeMap::new()),
            revision: 0,
            loaded_at: SystemTime::UNIX_EPOCH,
            errors: Vec::new(),
        };
        let door = Door::new();
        let seeds: Vec<Vec<u8>> = SEEDS.iter().map(|text| text.as_bytes().to_vec()).collect();
        for seed in &seeds {
            let alone = after(&door, &nothing, &Ok(file(0, seed.clone())));
            assert!(alone.errors.is_empty(), "{:?}", alone.errors);
        }
        let last = seeds.last().cloned().unwrap_or_default();
        let before = after(&door, &nothing, &Ok(file(0, last)));
        Self {
            door,
            seeds,
            before,
        }
    }

    /// Makes up to three files, and reads them.
    pub fn check(&self, choices: &mut Choices<'_>) {
        let mut files = Files::new();
        for nth in 0..=choices.below(3) {
            let bytes = message_with(choices, &self.seeds, PIECES);
            files.extend(file(nth, bytes));
        }
        let shown: Vec<_> = files.iter().map(|(_, bytes)| Shown(bytes)).collect();
        let next = after(&self.door, &self.before, &Ok(files.clone()));
        if next.errors.is_empty() {
            self.taken(&files, &next);
        } else {
            self.refused(&files, &next);
        }
        drop(shown);
    }

    fn refused(&self, files: &Files, next: &Loaded) {
        let as_before = Loaded {
            errors: next.errors.clone(),
            ..self.before.clone()
        };
        assert_eq!(*next, as_before, "what runs was changed");
        for error in &next.errors {
            let named = files.iter().find(|(path, _)| *path == error.file);
            let (_, bytes) = named.expect("a fault names one of the files");
            let lines = lines(bytes) + 1;
            assert!(
                error.line.is_none_or(|line| (1..=lines).contains(&line)),
                "{error}"
            );
            assert!(!error.message.is_empty());
        }
    }

    fn taken(&self, files: &Files, next: &Loaded) {
        for (path, bytes) in files {
            let alone = vec![(path.clone(), bytes.clone())];
            let alone = after(&self.door, &self.before, &Ok(alone));
            assert!(
                alone.errors.is_empty(),
                "one of them alone is refused: {:?}",
                alone.errors
            );
        }
        let changed = next.objects != self.before.objects;
        assert_eq!(next.revision, self.before.revision + u64::from(changed));
        let again = after(&self.door, next, &Ok(files.clone()));
        assert_eq!(again, *next, "the same files, another time");
        // What the door lets in is something that can be planned.
        plan(&next.objects, &Facts::default());
    }
}

/// Lines as YAML counts them: a carriage return ends one, too (YAML 1.2.2 section 5.4).
fn lines(bytes: &[u8]) -> usize {
    let both = bytes.windows(2).filter(|pair| pair == b"\r\n").count();
    bytes.split(|byte| matches!(byte, b'\r' | b'\n')).count() - both
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

fn file(nth: usize, bytes: Vec<u8>) -> Files {
    vec![(PathBuf::from(format!("{nth}.yaml")), bytes)]
}
