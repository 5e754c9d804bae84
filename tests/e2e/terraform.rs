//! The text printed for Terraform, read by Terraform itself. It fetches nothing: it runs without a
//! network.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::rig::{has, is_there, output};

/// A mirror of the AWS provider in a folder (`terraform providers mirror`): in the folder that
/// `MUSTER_TERRAFORM_PLUGINS` names, or where Terraform looks by itself.
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
async fn terraform(folder: &Path, arguments: &str) {
    let script = format!(
        "cd {} && CHECKPOINT_DISABLE=1 TF_CLI_CONFIG_FILE=/dev/null terraform {arguments} -no-color",
        folder.display()
    );
    output("unshare", &["--net", "sh", "-c", &script]).await;
}

/// Prints both forms for Terraform, each into a folder of its own.
async fn printed() -> Vec<TempDir> {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/machine/muster.toml");
    let base = ["resolv-conf", "--config", config, "--for", "terraform"];
    let mut folders = Vec::new();
    for addresses in [&[][..], &["--address", "10.0.1.53", "--address", "[fd00::53]:5300"]] {
        let text = output(env!("CARGO_BIN_EXE_muster"), &[&base[..], addresses].concat()).await;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("route53.tf"), &text).unwrap();
        folders.push(folder);
    }
    folders
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs terraform and root: make e2e"]
async fn the_terraform_that_is_printed_is_formatted() {
    if !has("terraform") {
        return;
    }
    for folder in printed().await {
        terraform(folder.path(), "fmt -check -diff").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs terraform, a mirror of the AWS provider in a folder, and root: make e2e"]
async fn the_terraform_that_is_printed_is_valid() {
    let providers = providers();
    if !has("terraform") || !is_there("a mirror of the AWS provider", providers.is_some()) {
        return;
    }
    let providers = providers.unwrap();
    for folder in printed().await {
        let init = format!("init -backend=false -input=false -plugin-dir={}", providers.display());
        terraform(folder.path(), &init).await;
        terraform(folder.path(), "validate").await;
    }
}
