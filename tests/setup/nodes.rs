//! Several brokers on one database, as processes.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::cluster::sound_cluster;
use crate::deployment::{Deployment, run};
use crate::health::comes_to_say;
use crate::journey::first_admin;
use crate::moving::{database, stored};

/// A deployment whose records lie in a database, with an admin; it runs.
pub async fn in_a_database() -> Deployment {
    let mut deployment = Deployment::init();
    let fresh = sound_cluster().fresh();
    let url = fresh.url_at(fresh.port());
    let config = deployment.at("valetkey.toml");
    run(&["vault", "migrate", "--config", &config], &[("VALETKEY_MIGRATE_TO", &url)]).ok();
    stored(&deployment, &database(&deployment, "postgres.url", &url));
    deployment.serve();
    first_admin(&mut deployment).await;
    deployment
}

fn audiences(node: &Deployment) -> usize {
    node.admin(&["audience", "list", "--json"]).json()["items"].as_array().unwrap().len()
}

fn terms(node: &Deployment) -> Vec<u64> {
    let status = node.admin(&["vault", "status", "--json"]).json();
    status["terms"].as_array().unwrap().iter().filter_map(|term| term["term"].as_u64()).collect()
}

#[tokio::test]
async fn keys_are_rotated_at_one_node_and_no_other_is_started_anew() {
    let mut one = in_a_database().await;
    let mut other = one.another_node();
    other.serve();
    one.audience("before");
    let status: Value = one.admin(&["vault", "rotate", "--json"]).json();
    assert_eq!(status["active_term"], 2, "{status}");
    one.audience("after");
    assert_eq!(audiences(&other), 2);
    other.audience("there");
    assert_eq!((audiences(&one), terms(&other)), (3, vec![1, 2]));
    // Killed in the middle of it, and with its disk: the other has all that it needs.
    one.kill();
    fs::remove_dir_all(one.path("data")).unwrap();
    assert_eq!(other.terminate(), Some(0));
    other.serve();
    assert_eq!(audiences(&other), 3);
    let counted = other.admin(&["vault", "status", "--json", "--count"]).json();
    assert!(counted["records"].as_u64().unwrap() > 3, "{counted}");
    one.serve();
    assert_eq!((audiences(&one), terms(&one)), (3, vec![1, 2]));
}

/// The whole folder, as whoever clones a machine copies it.
fn copy_data(from: &Deployment, to: &Deployment) {
    let (from, to) = (from.path("data"), to.path(""));
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

fn log(node: &Deployment) -> String {
    fs::read_to_string(node.path("log")).unwrap()
}

#[tokio::test]
async fn of_two_brokers_with_one_copied_data_folder_only_one_runs() {
    let mut one = in_a_database().await;
    let mut copy = one.another_node();
    copy_data(&one, &copy);
    let refused = copy.serve_in_vain(&[]);
    assert!(refused.contains("another broker runs under this node's name"), "{refused}");
    assert!(refused.contains("the data folder was copied"), "{refused}");
    // Killed, it has its own name back at once, and goes on where it was.
    one.kill();
    one.serve();
    assert!(!log(&one).contains("is claimed elsewhere"), "{}", log(&one));
    assert!(copy.serve_in_vain(&[]).contains("another broker"));
    // Suspended, it cannot hold its name, and does nothing under it when it goes on.
    one.signal(Signal::STOP);
    copy.serve();
    assert!(log(&copy).contains("is claimed elsewhere"), "it has waited");
    one.signal(Signal::CONT);
    assert_eq!(one.ended(), Some(74));
    assert!(log(&one).contains("another process has this node's name"), "{}", log(&one));
    assert!(one.serve_in_vain(&[]).contains("another broker"));
    // Given back, it is free for whoever starts next.
    assert_eq!(copy.terminate(), Some(0));
    let before = log(&one).len();
    one.serve();
    assert!(!log(&one)[before..].contains("is claimed elsewhere"));
}

#[tokio::test]
async fn a_broker_that_loses_its_name_while_it_is_about_to_end_leaves_as_at_any_other_time() {
    let mut one = in_a_database().await;
    assert_eq!(one.terminate(), Some(0));
    one.edit(|text| format!("drain_s = 600\n{text}"));
    one.serve();
    let mut copy = one.another_node();
    copy_data(&one, &copy);
    one.signal(Signal::TERM);
    comes_to_say(&one, Some("not ready: stopping"));
    one.signal(Signal::STOP);
    copy.serve();
    one.signal(Signal::CONT);
    assert_eq!(one.ended(), Some(74), "it finishes nothing under a name that another has");
    copy.kill();
}

#[tokio::test]
async fn another_root_key_is_for_the_database_too_and_a_broker_with_the_old_one_changes_no_keys() {
    let mut one = in_a_database().await;
    let mut other = one.another_node();
    other.serve();
    one.audience("before");
    let config = one.at("valetkey.toml");
    let rekey = ["vault", "rekey", "--config", &config, "--key-file", &one.at("new.key")];
    assert!(run(&rekey, &[]).refused().contains("in use"), "its own broker runs");
    one.terminate();
    assert!(run(&rekey, &[]).ok().contains("every other node"));
    assert!(one.serve_in_vain(&[]).contains("does not open"), "with the old one");
    one.edit(|text| text.replace("\"root.key\"", "\"new.key\""));
    one.serve();
    assert_eq!((audiences(&one), audiences(&other)), (1, 1));
    other.audience("there");
    let refused = other.admin(&["vault", "rotate"]).refused();
    assert!(refused.contains("root key was changed"), "{refused}");
    other.terminate();
    fs::copy(one.path("new.key"), other.path("root.key")).unwrap();
    other.serve();
    assert_eq!(audiences(&other), 2);
    other.admin(&["vault", "rotate"]).ok();
    other.audience("after");
    assert_eq!((audiences(&one), terms(&one)), (3, vec![1, 2]));
}
