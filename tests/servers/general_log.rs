//! What reached a server, by its own account: its general log, of one user's connections.

use std::collections::HashMap;

use super::stack::Stack;

/// One line of it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) connection: u64,
    /// `Connect`, `Query`, `Execute`, ...
    pub(crate) command: String,
    pub(crate) text: String,
}

const COMMANDS: [&str; 15] = [
    "Connect",
    "Query",
    "Execute",
    "Quit",
    "Init DB",
    "Prepare",
    "Close stmt",
    "Reset stmt",
    "Change user",
    "Statistics",
    "Ping",
    "Field List",
    "Reset connection",
    "Set option",
    "Fetch",
];

/// Everything that a user's connections asked of a server.
pub(crate) fn entries(stack: &Stack, node: &str, user: &str) -> Vec<Entry> {
    let bytes = std::fs::read(stack.folder.join(node).join("general.log")).expect("a general log");
    let text = String::from_utf8_lossy(&bytes);
    let mut users: HashMap<u64, String> = HashMap::new();
    let mut found: Vec<Entry> = Vec::new();
    let mut is_ours = false;
    for line in text.lines() {
        let Some(entry) = parse(line) else {
            // A statement goes on.
            if is_ours && let Some(last) = found.last_mut() {
                last.text.push('\n');
                last.text.push_str(line);
            }
            continue;
        };
        if matches!(entry.command.as_str(), "Connect" | "Change user") {
            let name = entry.text.split('@').next().unwrap_or_default();
            users.insert(entry.connection, name.to_owned());
        }
        is_ours = users.get(&entry.connection).is_some_and(|name| name == user);
        if is_ours {
            found.push(entry);
        }
    }
    found
}

/// The statements among them.
pub(crate) fn statements(stack: &Stack, node: &str, user: &str) -> Vec<String> {
    let asked = entries(stack, node, user).into_iter();
    let asked = asked.filter(|entry| matches!(entry.command.as_str(), "Query" | "Execute"));
    asked.map(|entry| entry.text.trim().to_owned()).collect()
}

/// How often a user logged in.
pub(crate) fn logins(stack: &Stack, node: &str, user: &str) -> usize {
    entries(stack, node, user).iter().filter(|entry| entry.command == "Connect").count()
}

/// `TIME<tab>  ID COMMAND<tab>TEXT`; within one second MariaDB leaves the time out.
fn parse(line: &str) -> Option<Entry> {
    let (_, rest) = line.split_once('\t')?;
    let (head, text) = rest.trim_start().split_once('\t')?;
    let (id, command) = head.split_once(' ')?;
    let connection = id.parse().ok()?;
    COMMANDS.contains(&command).then(|| Entry {
        connection,
        command: command.to_owned(),
        text: text.to_owned(),
    })
}
