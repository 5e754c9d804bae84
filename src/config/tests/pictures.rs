//! Diagnostics as users see them.

use insta::assert_snapshot;

use super::{load_from, load_member, load_texts, load_zone};

const MANY: &str = r#"namespace = "shop"
ttl = "soon"
max_answer = 3

[services.web]
from = [
  { consul = "vmss", service = "web" },
  { kubernetes = "eks", namespace = "shop", selectr = "app=web" },
  { kubernetes = "eks", namespace = "shop", selector = "app in web" },
  { static = ["10.0.0.5:80", "10.0.0.5:80", "10.0.0.256:80"], check = { http = "healthz", interval = 5 } },
]

[services.Web]
from = []
routes = []
"#;

#[test]
fn every_error_of_every_file_is_drawn() {
    let server = "[listen]\ndns = \"127.0.0.1\"\n\n[consul.vms]\nadress = \"http://127.0.0.1:8500\"\n[kubernetes.eks]\n";
    let report = load_texts(server, MANY).expect_err("full of errors");
    assert_snapshot!("many", report.render(false));
}

#[test]
fn a_log_line_has_position_message_and_help() {
    let report =
        load_member("{ consul = \"vms\", servce = \"web\", service = \"web\" }").expect_err("a typo");
    let lines: Vec<_> = report.diagnostics().iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        ["zones/shop.toml:3:27: error: unknown key \"servce\" in a consul member; did you mean \"service\"?"]
    );
}

#[test]
fn errors_that_follow_from_a_syntax_error_are_left_out() {
    let report =
        load_zone("namespace = shop\nttl = \"soon\"\n[services.web\nfrom = [{ consul = \"vmss\" }]\n")
            .expect_err("not TOML");
    assert_snapshot!("syntax", report.render(false));
}

#[test]
fn a_second_namespace_of_one_name_shows_the_first() {
    let zone = |name: &str| (format!("zones/{name}.toml").into(), "namespace = \"shop\"\n".to_owned());
    let report =
        load_from(&[("muster.toml".into(), String::new()), zone("a"), zone("b")]).expect_err("twice");
    assert_snapshot!("twice", report.render(false));
}

#[test]
fn warnings_are_drawn_and_refuse_nothing() {
    let zone = "namespace = \"shop\"\n[services.web]\nfrom = [{ static = [\"10.0.0.5:80\"] }]\nroutes = [{ split = [{ weight = 1, locality = \"a\" }, { weight = 2, locality = \"a\" }] }]\n";
    let loaded = load_texts("", zone).expect("warnings only");
    assert_snapshot!("warnings", loaded.warnings.render(false));
}

#[test]
fn color_is_optional() {
    let report = load_zone("").expect_err("empty");
    assert!(!report.render(false).contains('\x1b'));
    assert!(report.render(true).contains('\x1b'));
}

#[test]
fn at_most_fifty_diagnostics_are_drawn() {
    let zone: String = (0..500).map(|at| format!("unknown{at} = 1\n")).collect();
    let text = load_zone(&zone).expect_err("unknown keys").render(false);
    assert!(text.contains("... and 451 more"), "{text}");
    assert!(text.ends_with("\n501 errors in 1 file\n"), "{text}");
}
