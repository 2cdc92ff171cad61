//! The redrive from a command line: the job's own code with the connections of whoever asks, and its answer as tables.

use std::time::Duration;

use scheduled_jobs::redrive::order::{Asked, Order};
use scheduled_jobs::redrive::report::{Content, Done, Line, Listed, READABLE, Redriven, Replayed, Row, Shown, Stopped};
use scheduled_jobs::redrive::{Redrive, RedriveError};
use shared::config::Config;
use shared::dynamodb::Table;
use tokio::time::Instant;

/// Time one command has: longer than an invocation, for nobody pays by the second here.
const DEADLINE: Duration = Duration::from_secs(300);

/// Carries out what is asked, on the brokers and the table of this configuration.
///
/// # Errors
/// When it cannot be, or nothing could be done.
pub async fn run(config: &Config, asked: Asked) -> Result<Redriven, RedriveError> {
    let order = Order::try_from(asked)?;
    let mut redrive = Redrive::open(&config.kafka, Table::new(&config.table).await).await?;
    let done = redrive.run(order, Instant::now() + DEADLINE).await;
    redrive.close().await;
    done
}

/// Whether everything that was asked for was done; a list that has a next page is.
pub fn is_complete(done: &Redriven) -> bool {
    match done {
        Redriven::List(listed) => matches!(listed.stopped, None | Some(Stopped::Limit)),
        Redriven::Show(_) => true,
        Redriven::Replay(done) => {
            matches!(done.stopped, None | Some(Stopped::Limit)) && done.lost == 0 && done.failed == 0
        }
    }
}

/// The answer as a person reads it.
pub fn table(done: &Redriven) -> String {
    match done {
        Redriven::List(listed) => list(listed),
        Redriven::Show(shown) => show(shown),
        Redriven::Replay(done) => replay(done),
    }
}

fn list(listed: &Listed) -> String {
    if listed.entries.is_empty() && listed.left == 0 {
        return "Nothing has been given up.".to_owned();
    }
    let head = ["entry", "reason", "came from", "attempt", "first seen", "reservation", "bytes", ""];
    let mut text = columns(&head, listed.entries.iter().map(cells).collect());
    if let (Some(stopped), Some(last)) = (listed.stopped, listed.entries.last()) {
        text.push_str(&format!("\n{} more ({}); go on with --after {}\n", listed.left, words(stopped), last.entry));
    }
    text
}

fn cells(row: &Row) -> Vec<String> {
    let note = row.lost.or(row.passed.then_some("passed")).unwrap_or_default();
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let (first_seen, reservation) = (known(&row.first_seen_at), known(&row.reservation_id));
    let (attempt, bytes) = (row.attempt.to_string(), row.bytes.to_string());
    let (entry, reason, source) = (row.entry.clone(), row.reason.clone(), row.source.clone());
    vec![entry, reason, source, attempt, first_seen, reservation, bytes, note.to_owned()]
}

fn show(shown: &Shown) -> String {
    let Row { entry, reason, detail, source, attempt, first_seen_at, bytes, .. } = &shown.row;
    let mut text =
        format!("{entry}\n  reason       {reason}: {detail}\n  came from    {source}\n  attempt      {attempt}\n");
    let first_seen = first_seen_at.as_deref().unwrap_or("-");
    text.push_str(&format!("  first seen   {first_seen}\n  bytes        {bytes}\n"));
    for record in &shown.records {
        text.push_str(&format!("\n  record       {}\n  now          {}\n", record.line.source, verdict(&record.line)));
        for (name, value) in &record.headers {
            text.push_str(&format!("  header       {name}: {}\n", content(Some(value))));
        }
        text.push_str(&format!("  key          {}\n", content(record.key.as_ref())));
        text.push_str(&format!("  value        {}\n", content(record.value.as_ref())));
    }
    text
}

fn content(content: Option<&Content>) -> String {
    match content {
        None => "none".to_owned(),
        Some(Content::Base64(base64)) => format!("(base64) {base64}"),
        // Control characters would write over the terminal.
        Some(Content::Text(text)) => text.chars().flat_map(|char| shown(char).into_iter()).collect(),
    }
}

fn shown(char: char) -> Vec<char> {
    if char.is_control() { char.escape_default().collect() } else { vec![char] }
}

fn replay(done: &Replayed) -> String {
    if done.lines.is_empty() && done.left == 0 {
        return "There is nothing to replay.".to_owned();
    }
    let cells = |line: &Line| {
        let reservation = line.reservation_id.clone().unwrap_or_else(|| "-".to_owned());
        let what = match &line.done {
            Done::Nothing => "would be replayed".to_owned(),
            Done::Lost => "cannot be replayed".to_owned(),
            Done::Replayed { now_at } => format!("replayed as {now_at}"),
            Done::Failed { why } => format!("NOT REPLAYED ({why})"),
        };
        vec![line.entry.clone(), line.source.clone(), reservation, what, verdict(line)]
    };
    let mut text = columns(&["entry", "came from", "reservation", "", ""], done.lines.iter().map(cells).collect());
    let Replayed { replayed, readable, lost, failed, left, .. } = done;
    let records = done.lines.len();
    text.push_str(&match done.dry_run {
        true => format!("\nDry run, nothing was produced: {records} looked at, {readable} readable, {lost} lost"),
        false => format!("\n{replayed} replayed ({readable} readable), {lost} lost, {failed} failed"),
    });
    if let Some(stopped) = done.stopped {
        text.push_str(&format!("; {left} left ({}), run it again", words(stopped)));
    }
    text.push('\n');
    text
}

fn verdict(line: &Line) -> String {
    match &line.detail {
        None if line.decodes == READABLE => "the code of today can read it".to_owned(),
        None => line.decodes.to_owned(),
        Some(detail) => format!("{}: {}", line.decodes, content(Some(&Content::Text(detail.clone())))),
    }
}

fn words(stopped: Stopped) -> &'static str {
    match stopped {
        Stopped::Limit => "as many as were asked for",
        Stopped::Deadline => "no time left",
        Stopped::NotProduced => "the topic did not take one",
        Stopped::NotRead => "a topic could not be read",
        Stopped::NotRemembered => "the table did not take how far it came",
    }
}

/// Rows under their heads, each column as wide as its widest cell.
fn columns(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = head.iter().enumerate().map(|(at, name)| widest(at).max(name.len())).collect();
    let mut text = String::new();
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    for row in std::iter::once(&head).chain(&rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
