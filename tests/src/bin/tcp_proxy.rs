//! The proxy of the tests as a program, for scripts.
//!
//! Prints `listening tcp <address>`, then answers each line on standard input with its counts as one line of JSON:
//! `pass`, `hold [up|down]`, `delay MS [up|down]`, `cut`, `refuse`, `accept`, `break LOW HIGH`, `last` (undoes `break`),
//! `counts`. Ends with its input.

use std::io::{BufRead, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use lake_tests::proxy::{Proxy, Rule, Way};

#[derive(Parser)]
struct Options {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// Decides after how many bytes connections break.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// `host:port` behind it.
    target: String,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let proxy = Proxy::start(&options.listen, &options.target, options.seed).context("cannot listen")?;
    println!("listening tcp {}", proxy.address());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        obey(&proxy, &words).with_context(|| format!("'{line}' is not a command"))?;
        let counts = proxy.counts();
        println!(
            "{{\"connections\":{},\"refused\":{},\"cut\":{},\"delayed\":{},\"held\":{}}}",
            counts.connections, counts.refused, counts.cut, counts.delayed, counts.held
        );
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn obey(proxy: &Proxy, words: &[&str]) -> Result<()> {
    match words {
        ["pass"] => proxy.set_both(Rule::Pass),
        ["hold", way @ ..] => set(proxy, Rule::Hold, way)?,
        ["delay", ms, way @ ..] => set(proxy, Rule::Delay(Duration::from_millis(ms.parse()?)), way)?,
        ["cut"] => drop(proxy.cut()),
        ["refuse"] => proxy.refuse(true),
        ["accept"] => proxy.refuse(false),
        ["break", low, high] => proxy.break_after(Some(low.parse()?..=high.parse()?)),
        ["last"] => proxy.break_after(None),
        ["counts"] => {}
        _ => anyhow::bail!("unknown"),
    }
    Ok(())
}

fn set(proxy: &Proxy, rule: Rule, way: &[&str]) -> Result<()> {
    match way {
        [] => proxy.set_both(rule),
        ["up"] => proxy.set(Way::Up, rule),
        ["down"] => proxy.set(Way::Down, rule),
        _ => anyhow::bail!("neither up nor down"),
    }
    Ok(())
}
