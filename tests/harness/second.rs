//! A second process of the API on the same stores, with its own copy of what it has read and its own wire to the table.

use local::client::ApiClient;
use local::config::DEVELOPMENT_KEY;
use local::gateway::Gateway;
use local::system::token;
use reservation_api::App;
use shared::redis::Redis;
use tokio::net::TcpListener;

use super::Office;
use super::wire::Wire;

/// The process. Dropping it cuts its connections.
pub struct Second {
    gateway: Gateway,
    /// A customer of it.
    pub bob: ApiClient,
    /// An organiser who uses it.
    pub organiser: ApiClient,
}

impl Second {
    /// Starts it.
    pub async fn start(office: &Office, wire: &Wire) -> Self {
        let config = office.system.config();
        let redis = Redis::connect(&config.redis_url, 1).await.unwrap();
        let app = App::new(config, redis, wire.under(&office.table().await), office.log());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = Gateway::start(listener, DEVELOPMENT_KEY.to_owned(), reservation_api::router(app)).unwrap();
        let client = ApiClient::new(&format!("http://{}", gateway.addr())).unwrap();
        let with = |name: &str, scopes: &[&str]| client.with_token(&token(name, scopes).unwrap());
        Self { bob: with("bob", &[]), organiser: with("organiser", &["tickets/admin"]), gateway }
    }

    /// Ends it once what it is at is done.
    pub async fn stop(self) {
        self.gateway.stop().await;
    }
}
