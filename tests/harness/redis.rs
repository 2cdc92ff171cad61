//! A plain connection to a test's Redis, to look at it and to damage it. Not the product's client: what is being tested
//! should not be what looks.

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::config::Config;
use fred::types::{Builder, ClusterHash, CustomCommand, FromValue, Value};

/// Connects to the Redis at `url`.
pub async fn connect(url: &str) -> Client {
    let client = Builder::from_config(Config::from_url(url).unwrap()).build().unwrap();
    client.init().await.unwrap();
    client
}

/// Sends a command as it would be typed.
pub async fn command<T: FromValue>(client: &Client, words: &[&str]) -> T {
    let name = CustomCommand::new(words[0].to_owned(), ClusterHash::FirstKey, false);
    let args: Vec<Value> = words[1..].iter().map(|word| (*word).into()).collect();
    client.custom(name, args).await.unwrap()
}
