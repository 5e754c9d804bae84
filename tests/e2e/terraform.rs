//! What is printed for Terraform, as Terraform itself reads it. Nothing is fetched: it runs where there is no network.

use std::{fs, path::PathBuf};

use crate::rig::output;

/// Where the AWS provider may be, as a mirror in a folder (`terraform providers mirror`): the folders that Terraform looks in by
/// itself, and one that is named on purpose.
fn providers() -> Option<PathBuf> {
    let named = std::env::var_os("MUSTER_TERRAFORM_PLUGINS").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".terraform.d/plugins"));
    let usual = ["/usr/local/share/terraform/plugins", "/usr/share/terraform/plugins"].map(PathBuf::from);
    named
        .into_iter()
        .chain(home)
        .chain(usual)
        .find(|folder| folder.join("registry.terraform.io/hashicorp/aws").is_dir())
}

/// Runs Terraform in `folder` without a network.
async fn terraform(folder: &str, arguments: &str) {
    let script = format!(
        "cd {folder} && CHECKPOINT_DISABLE=1 TF_CLI_CONFIG_FILE=/dev/null terraform {arguments} -no-color"
    );
    output("unshare", &["--net", "sh", "-c", &script]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs terraform and root: make e2e"]
async fn what_is_printed_for_terraform_is_formatted_and_valid() {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&folders).any(|folder| folder.join("terraform").is_file()) {
        println!("left out: terraform is not installed, and Debian does not have it");
        return;
    }
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/machine/muster.toml");
    let base = ["resolv-conf", "--config", config, "--for", "terraform"];
    for addresses in [&[][..], &["--address", "10.0.1.53", "--address", "[fd00::53]:5300"]] {
        let printed = output(env!("CARGO_BIN_EXE_muster"), &[&base[..], addresses].concat()).await;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("route53.tf"), &printed).unwrap();
        let path = folder.path().display().to_string();
        terraform(&path, "fmt -check -diff").await;
        let Some(providers) = providers() else {
            println!("only its form was looked at: there is no mirror of the AWS provider in a folder");
            continue;
        };
        let init = format!("init -backend=false -input=false -plugin-dir={}", providers.display());
        terraform(&path, &init).await;
        terraform(&path, "validate").await;
    }
}
