//! The tables of docs/CAPACITY.md, and where they stand in it: between `<!-- name -->` and `<!-- /name -->`.

use super::inputs as is;
use super::{BILLED, Bill, Limit, SALES, first_to_break, limits};

/// A number for people: thousands apart, and fewer digits after the point the larger it is.
pub fn number(value: f64) -> String {
    if value != 0.0 && value < 0.001 {
        return format!("{value:.10}").trim_end_matches('0').to_owned();
    }
    if value.fract() != 0.0 && value < 10.0 {
        return format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{value:.0}");
    let mut apart = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

fn row(cells: impl IntoIterator<Item = String>) -> String {
    format!("| {} |\n", cells.into_iter().collect::<Vec<_>>().join(" | "))
}

fn head(cells: &[&str]) -> String {
    row(cells.iter().map(ToString::to_string)) + &format!("|{}\n", "---|".repeat(cells.len()))
}

/// A head of `first` and the sales' names.
fn sales(first: &str) -> String {
    let mut cells = vec![first];
    cells.extend(SALES.iter().map(|sale| sale.name));
    head(&cells)
}

fn line(what: &str, of: impl Fn(&super::Sale) -> String) -> String {
    row(std::iter::once(what.to_owned()).chain(SALES.iter().map(of)))
}

fn needs() -> String {
    let seconds = |value: f64| format!("{} s", number(value.ceil()));
    let percent = |share: f64| format!("{} %", number((share * 100.0).round()));
    [
        sales("in its busiest second"),
        line("requests, all", |sale| number(sale.requests)),
        line("in", |sale| format!("{} min", number(sale.minutes))),
        line("seats; events", |sale| format!("{}; {}", number(sale.seats), number(sale.events))),
        line("requests a second", |sale| number(sale.need().requests.round())),
        line("of them to reserve", |sale| number(sale.need().claims.round())),
        line("granted a second", |sale| number(sale.need().granted.round())),
        line("everything held after", |sale| seconds(sale.need().sold_out_s)),
        line("environments", |sale| number(sale.need().environments)),
        line("of them busy", |sale| number(sale.need().busy_environments)),
        line("Lambda makes them in", |sale| seconds(sale.need().environments_s)),
        line("brokers take their connections in", |sale| seconds(sale.need().connections_s)),
        line("Kafka, KB a second", |sale| number(sale.need().granted.round())),
        line("consumers at a time, partitions at least", |sale| number(sale.need().consumers)),
        line("Redis, of an event's one core", |sale| percent(sale.need().redis)),
        line("the same without maps", |sale| percent(sale.need().redis_without_maps)),
        line("write units a second, table", |sale| number(sale.need().write_units.round())),
        line("write units a second, each index", |sale| number(sale.need().granted.round())),
    ]
    .concat()
}

fn breaks() -> String {
    let all = limits();
    let mut text = sales("how many times the limit");
    text = text.replacen("how many times the limit", "limit | as deployed | at AWS | lifted by", 1).replacen(
        "---|",
        "---|---|---|---|",
        1,
    );
    for limit in &all {
        let times = SALES.iter().map(|sale| {
            let times = (limit.needs)(&sale.need()) / limit.deployed;
            if times > 1.0 { format!("**{times:.1}**") } else { format!("{times:.2}") }
        });
        let named = [limit.what.to_owned(), number(limit.deployed), number(limit.aws), limit.lifted.to_owned()];
        text += &row(named.into_iter().chain(times));
    }
    text.push('\n');
    let deployed = |limit: &Limit| limit.deployed;
    let asked = |limit: &Limit| if limit.raised { f64::INFINITY } else { limit.aws };
    let first = |bound: fn(&Limit) -> f64| {
        move |sale: &super::Sale| {
            let (what, times) = first_to_break(&sale.need(), &limits(), bound);
            if times > 1.0 {
                format!("{what}, {times:.1} times over")
            } else {
                format!("none; nearest {what}, {:.0} %", times * 100.0)
            }
        }
    };
    text + &sales("breaks first")
        + &line("as deployed", first(deployed))
        + &line("with all raised that can be", first(asked))
}

fn slot() -> String {
    let each = [
        ("refusals of seats that are taken", is::REFUSED_US.value),
        ("reservations of named seats, with their outcomes", is::GRANTED_US.value + is::OUTCOME_US.value),
        ("best seats, none of 8 options free", is::BEST_US.value),
        ("reservations of a place, with their outcomes", is::PLACE_US.value + is::OUTCOME_US.value),
        ("looks at a record", is::LOOK_US.value),
        ("maps of 1,000 seats", is::MAP_US.value),
    ];
    let mut text = head(&["nothing but", "CPU each, µs", "a second", "an hour"]);
    for (what, us) in each {
        let rate = is::REDIS_BUSY.value * 1e6 / us;
        // Nobody reads more than two digits out of this.
        text += &row([
            what.to_owned(),
            number(us),
            number((rate / 100.0).round() * 100.0),
            number((rate * 3.6e3 / 1e6).round() * 1e6),
        ]);
    }
    // The mix of a sale's first seconds, and of the time after.
    let opening = SALES[1].need();
    let per_request = opening.redis / opening.requests * SALES[1].events;
    let after = is::CLAIMS_SHARE.value * is::REFUSED_US.value
        + is::MAPS_SHARE.value * is::MAP_US.value
        + (1.0 - is::CLAIMS_SHARE.value - is::MAPS_SHARE.value) * is::LOOK_US.value;
    for (what, us) in
        [("requests as assumed, while it sells", per_request * 1e6), ("requests as assumed, once all is held", after)]
    {
        let rate = is::REDIS_BUSY.value * 1e6 / us;
        text += &row([
            what.to_owned(),
            number(us.round()),
            number((rate / 100.0).round() * 100.0),
            number((rate * 3.6e3 / 1e6).round() * 1e6),
        ]);
    }
    text
}

fn costs() -> String {
    let bills = [Bill { requests_each: 50.0, minutes: 60.0 }, Bill { requests_each: 3_500.0, minutes: 1_440.0 }];
    let of = |bill: &Bill| format!("{} requests in {} h", number(bill.requests()), number(bill.minutes / 60.0));
    let mut text = head(&["$", &of(&bills[0]), &of(&bills[1])]);
    let lines = bills.each_ref().map(Bill::lines);
    for ((what, one), (_, other)) in lines[0].iter().zip(&lines[1]) {
        text += &row([(*what).to_owned(), format!("{one:.2}"), format!("{other:.2}")]);
    }
    let sums = lines.map(|lines| lines.iter().map(|(_, dollars)| dollars).sum::<f64>());
    text += &row(["**all**".to_owned(), format!("**{:.2}**", sums[0]), format!("**{:.2}**", sums[1])]);
    text + &row(["a reservation".to_owned(), format!("{:.4}", sums[0] / BILLED), format!("{:.4}", sums[1] / BILLED)])
}

fn inputs(group: usize) -> String {
    let rows =
        is::ALL[group].iter().map(|input| row([input.what.to_owned(), number(input.value), input.from.to_owned()]));
    head(&["what", "value", "from"]) + &rows.collect::<String>()
}

fn sources() -> String {
    let lines =
        is::SOURCES.iter().enumerate().map(|(n, (title, address))| format!("{}. {title}, <{address}>\n", n + 1));
    format!("Read on {}.\n\n{}", is::READ_ON, lines.collect::<String>())
}

/// Every table by its name.
pub fn all() -> Vec<(&'static str, String)> {
    vec![
        ("needs", needs()),
        ("breaks", breaks()),
        ("slot", slot()),
        ("costs", costs()),
        ("measured", inputs(0)),
        ("limits", inputs(1)),
        ("deployed", inputs(2)),
        ("assumed", inputs(3)),
        ("prices", inputs(4)),
        ("sources", sources()),
    ]
}

/// The document with every table as it is calculated now.
///
/// # Errors
/// Names a table that has no place in it.
pub fn merged(document: &str) -> Result<String, String> {
    let mut text = document.to_owned();
    for (name, table) in all() {
        let (begins, ends) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
        let missing = || format!("the document has no place for the table {name}");
        let (before, rest) = text.split_once(&begins).ok_or_else(missing)?;
        let (_, after) = rest.split_once(&ends).ok_or_else(missing)?;
        text = format!("{before}{begins}{table}{ends}{after}");
    }
    Ok(text)
}
