//! The command lines that the documentation shows are ones that the programs take.

use std::ffi::OsString;

use clap::Parser;

use super::Cli;

const PAGES: [&str; 5] = [
    include_str!("../../docs/cli.md"),
    include_str!("../../docs/standalone.md"),
    include_str!("../../docs/examples/web.service"),
    include_str!("../../docs/examples/lastcall.service"),
    lastcall_hold::arguments::HELP,
];

/// Every command line of `program` that stands on a line of its own, behind `Exec…=` or a backtick.
fn commands(program: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in PAGES.iter().flat_map(|page| page.lines()) {
        let candidates = match line.split_once('=') {
            Some((key, command)) if key.starts_with("Exec") => {
                vec![command.trim_start_matches(['-', '+'])]
            }
            _ if line.starts_with("  ") => vec![line.trim()],
            _ => line.split('`').skip(1).step_by(2).collect(),
        };
        for candidate in candidates {
            let command = candidate
                .split(['#', '&', '|'])
                .next()
                .unwrap_or_default()
                .trim();
            let name = command.split(' ').next().unwrap_or_default();
            if name.rsplit('/').next() == Some(program) && command.contains("be/")
                || (name.contains('/') && name.ends_with(&format!("/{program}")))
            {
                found.push(command.to_owned());
            }
        }
    }
    found
}

#[test]
fn documented_commands_of_lastcall_are_valid() {
    let commands = commands("lastcall");
    assert!(commands.len() >= 5, "{commands:?}");
    for command in commands {
        let parsed = Cli::try_parse_from(command.split_whitespace());
        assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
    }
}

#[test]
fn documented_commands_of_the_hold_are_valid() {
    let commands = commands("lastcall-hold");
    assert!(commands.len() >= 3, "{commands:?}");
    for command in commands {
        let arguments = command.split_whitespace().skip(1).map(OsString::from);
        let parsed = lastcall_hold::arguments::parse(arguments, None);
        assert!(parsed.is_ok(), "{command}: {parsed:?}");
    }
}
