//! The status page: the same facts as HTML for people and as text for `curl`.
//!
//! One page without scripts, pictures or anything fetched from elsewhere; it asks for itself again
//! every five seconds. Every word from outside is escaped. Called by `http`.

use std::fmt::Write as _;

/// What the status page shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// A name and a value each: phase, mode, version, uptime.
    pub facts: Vec<(String, String)>,
    /// Servers, routes, whatever has rows.
    pub tables: Vec<Table>,
}

/// A table of the status page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// What its rows are.
    pub title: String,
    /// Heads of the columns.
    pub columns: Vec<String>,
    /// Cells; a cell that is exactly `up` or `down` (and a few words like them) is coloured.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these heads.
    #[must_use]
    pub fn new(title: &str, columns: &[&str], rows: Vec<Vec<String>>) -> Self {
        let columns = columns.iter().map(|&column| column.into()).collect();
        Self { title: title.into(), columns, rows }
    }
}

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--dim:#888;--good:#2a8f4f;--bad:#d0392b}\
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2.5rem auto;padding:0 1.25rem}\
h1{font-size:1.5rem;margin:0}h1 small{font-weight:400;color:var(--dim);font-size:.95rem}\
h2{font-size:1rem;margin:2rem 0 .4rem}dl{display:flex;flex-wrap:wrap;gap:.5rem 2.5rem;margin:1.4rem 0}\
dt{color:var(--dim);font-size:.8rem}dd{margin:0;font-size:1.1rem}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th{text-align:left;font-weight:400;color:var(--dim);font-size:.8rem}\
th,td{padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--line)}\
.good{color:var(--good)}.bad{color:var(--bad);font-weight:600}\
form{display:flex;gap:.5rem}input{flex:1;font:14px ui-monospace,monospace;padding:.4rem}\
pre{background:#8881;padding:1rem;overflow:auto}nav,nav a{color:var(--dim)}nav{margin-top:2.5rem}";

const GOOD: &[&str] = &["up", "yes", "ready", "serving", "split"];
const BAD: &[&str] = &["down", "no", "not ready", "draining", "stopped"];

/// The status page for a browser.
pub(super) fn status_html(status: &Status) -> String {
    let mut body = String::from("<dl>");
    for (name, value) in &status.facts {
        let _ = write!(
            body,
            "<div><dt>{}</dt><dd{}>{}</dd></div>",
            Escaped(name),
            colour(value),
            Escaped(value)
        );
    }
    body.push_str("</dl>");
    for table in &status.tables {
        table_html(&mut body, table);
    }
    body.push_str("<h2>Where would a statement go?</h2>");
    body.push_str(&form(""));
    frame("<meta http-equiv=\"refresh\" content=\"5\">", &body)
}

/// The answer about one statement for a browser.
pub(super) fn explain_html(sql: &str, answer: &str) -> String {
    frame(
        "",
        &format!("<h2>Where would a statement go?</h2>{}<pre>{}</pre>", form(sql), Escaped(answer)),
    )
}

/// The status page for a terminal.
pub(super) fn status_text(status: &Status) -> String {
    let mut text = String::new();
    let widest = status.facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in &status.facts {
        let _ = writeln!(text, "{name:<widest$}  {value}");
    }
    for table in &status.tables {
        let _ = write!(text, "\n{}\n", table.title);
        let lines = || std::iter::once(&table.columns).chain(&table.rows);
        let widths: Vec<usize> = (0..table.columns.len())
            .map(|at| {
                lines().filter_map(|l| l.get(at)).map(|c| c.chars().count()).max().unwrap_or(0)
            })
            .collect();
        for line in lines() {
            let cells: Vec<_> =
                line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            let _ = writeln!(text, "  {}", cells.join("  ").trim_end());
        }
    }
    text
}

fn table_html(body: &mut String, table: &Table) {
    let _ = write!(body, "<h2>{}</h2><table><tr>", Escaped(&table.title));
    for column in &table.columns {
        let _ = write!(body, "<th>{}</th>", Escaped(column));
    }
    body.push_str("</tr>");
    for row in &table.rows {
        body.push_str("<tr>");
        for cell in row {
            let _ = write!(body, "<td{}>{}</td>", colour(cell), Escaped(cell));
        }
        body.push_str("</tr>");
    }
    body.push_str("</table>");
}

fn form(sql: &str) -> String {
    format!(
        "<form action=\"/explain\"><input name=\"sql\" value=\"{}\" \
         placeholder=\"SELECT ...\" aria-label=\"statement\"><button>Explain</button></form>",
        Escaped(sql)
    )
}

fn frame(head: &str, body: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">{head}<title>Forebay</title>\
         <style>{STYLE}</style></head><body><h1>Forebay <small>{version}</small></h1>{body}\
         <nav><a href=\"/\">status</a> · <a href=\"/metrics\">metrics</a> · \
         <a href=\"/readyz\">readyz</a> · <a href=\"/livez\">livez</a></nav></body></html>\n"
    )
}

fn colour(word: &str) -> &'static str {
    match word {
        word if GOOD.contains(&word) => " class=\"good\"",
        word if BAD.contains(&word) => " class=\"bad\"",
        _ => "",
    }
}

/// Text that cannot become markup.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}
