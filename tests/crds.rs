//! `crds/` holds what the types say, byte for byte.

use std::fs;
use std::path::Path;

/// Set to write the files in place of comparing them.
const WRITE: &str = "LASTCALL_WRITE_CRDS";

#[test]
fn the_files_in_crds_are_what_the_types_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let write = std::env::var_os(WRITE).is_some();
    let mut expected: Vec<String> = Vec::new();
    for (name, yaml) in lastcall::api::crds_yaml() {
        let path = folder.join(name);
        if write {
            fs::write(&path, &yaml).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        let first = yaml.lines().zip(written.lines()).position(|(a, b)| a != b);
        assert!(
            written == yaml,
            "crds/{name} is not what the types say (first difference: line {}). Write it anew with\n    \
             {WRITE}=1 cargo test --test crds\nand commit it.",
            first.map_or_else(|| "the end".to_owned(), |at| (at + 1).to_string()),
        );
        expected.push(name.to_owned());
    }
    let mut found: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "crds/ holds something that no type says");
}

#[test]
fn the_command_prints_both_as_one_stream() {
    let mut out = Vec::new();
    lastcall::cli::crds::Crds {}.run(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let documents: Vec<&str> = text.split("---\n").skip(1).collect();
    let files: Vec<String> = lastcall::api::crds_yaml()
        .into_iter()
        .map(|(_, yaml)| yaml)
        .collect();
    assert_eq!(documents, files);
}
