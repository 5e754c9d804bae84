//! A real API server on a real etcd, without a kubelet: pods get their status from the test.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::rig::{Process, free_port, http, server, wait_for};

pub struct Kube {
    etcd: Process,
    api: Process,
    folder: PathBuf,
    address: SocketAddr,
    client: reqwest::Client,
}

/// The token that the tests use.
const ADMIN: &str = "admin-token";

impl Kube {
    pub async fn start(folder: &Path) -> Self {
        let folder = folder.join("kube");
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
        let authority = make_certificates(&write);
        let account_key = KeyPair::generate().unwrap();
        write("sa.key", account_key.serialize_pem());
        write("sa.pub", account_key.public_key_pem());
        write("tokens.csv", format!("{ADMIN},admin,admin,\"system:masters\"\n"));

        let (etcd_port, peer_port, port) = (free_port(), free_port(), free_port());
        let etcd_url = format!("http://127.0.0.1:{etcd_port}");
        let peer_url = format!("http://127.0.0.1:{peer_port}");
        let mut etcd = Command::new(server("etcd"));
        etcd.arg("--name=rig").arg(format!("--data-dir={}", folder.join("etcd").display())).args([
            format!("--listen-client-urls={etcd_url}"),
            format!("--advertise-client-urls={etcd_url}"),
            format!("--listen-peer-urls={peer_url}"),
            format!("--initial-advertise-peer-urls={peer_url}"),
            format!("--initial-cluster=rig={peer_url}"),
            "--log-level=warn".into(),
            "--unsafe-no-fsync=true".into(),
        ]);
        let etcd = Process::start(&mut etcd, folder.join("etcd.log"));
        let file = |name: &str| folder.join(name).display().to_string();
        let mut api = Command::new(server("kube-apiserver"));
        api.args([
            format!("--etcd-servers={etcd_url}"),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=127.0.0.1".into(),
            format!("--secure-port={port}"),
            format!("--tls-cert-file={}", file("server.crt")),
            format!("--tls-private-key-file={}", file("server.key")),
            format!("--cert-dir={}", file("certs")),
            "--service-cluster-ip-range=10.96.0.0/16".into(),
            "--endpoint-reconciler-type=none".into(),
            "--authorization-mode=RBAC".into(),
            format!("--token-auth-file={}", file("tokens.csv")),
            format!("--service-account-key-file={}", file("sa.pub")),
            format!("--service-account-signing-key-file={}", file("sa.key")),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            "--disable-admission-plugins=ServiceAccount".into(),
        ]);
        let api = Process::start(&mut api, folder.join("api.log"));
        let authority = reqwest::Certificate::from_pem(authority.as_bytes()).unwrap();
        let client = http().tls_certs_only([authority]).build().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let kube = Self { etcd, api, folder, address, client };
        wait_for("the API server is ready", || async {
            let (status, _) = kube.try_call(Method::GET, "/readyz", None, "").await?;
            (status == StatusCode::OK).then_some(())
        })
        .await;
        kube
    }

    /// Writes a kubeconfig with `token`; returns its path.
    pub fn kubeconfig(&self, token: &str) -> PathBuf {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "rig",
            "clusters": [{ "name": "rig", "cluster": {
                "server": format!("https://{}", self.address),
                "certificate-authority": self.folder.join("ca.crt"),
            }}],
            "users": [{ "name": "rig", "user": { "token": token } }],
            "contexts": [{ "name": "rig", "context": { "cluster": "rig", "user": "rig" } }],
        });
        let path = self.folder.join("kubeconfig");
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    /// Ends the API server and etcd.
    /// The port of the API server.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn kill(&mut self) {
        self.api.kill();
        self.etcd.kill();
    }

    async fn try_call(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, String)>,
        token: &str,
    ) -> Option<(StatusCode, Value)> {
        let token = if token.is_empty() { ADMIN } else { token };
        let mut request =
            self.client.request(method, format!("https://{}{path}", self.address)).bearer_auth(token);
        if let Some((kind, text)) = body {
            request = request.header("Content-Type", kind).body(text);
        }
        let response = request.send().await.ok()?;
        let status = response.status();
        let text = response.text().await.ok()?;
        Some((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    async fn call(&self, method: Method, path: &str, kind: &str, body: String) -> Value {
        let answer = self.try_call(method, path, Some((kind, body)), "").await;
        let (status, value) = answer.unwrap_or_else(|| panic!("{path}: no answer"));
        assert!(status.is_success(), "{path}: {status}: {value}");
        value
    }

    pub async fn create(&self, path: &str, object: &Value) -> Value {
        self.call(Method::POST, path, "application/json", object.to_string()).await
    }

    /// Creates every document of a YAML manifest.
    pub async fn create_manifest(&self, text: &str) {
        for document in text.split("\n---") {
            let value = |key: &str| {
                let line = document.lines().find_map(|line| line.strip_prefix(&format!("{key}:")));
                line.map(|value| value.trim().to_owned())
            };
            let Some(kind) = value("kind") else { continue };
            let path = match kind.as_str() {
                "Namespace" => "/api/v1/namespaces".to_owned(),
                "ServiceAccount" => {
                    let namespace = document.lines().find_map(|line| line.trim().strip_prefix("namespace:"));
                    format!("/api/v1/namespaces/{}/serviceaccounts", namespace.unwrap().trim())
                }
                "ClusterRole" => "/apis/rbac.authorization.k8s.io/v1/clusterroles".to_owned(),
                "ClusterRoleBinding" => "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings".to_owned(),
                other => panic!("what path has a {other}?"),
            };
            self.call(Method::POST, &path, "application/yaml", document.to_owned()).await;
        }
    }

    /// A token of a service account, as a pod gets it.
    pub async fn token(&self, namespace: &str, account: &str) -> String {
        let request = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} });
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        self.create(&path, &request).await["status"]["token"].as_str().unwrap().to_owned()
    }

    pub async fn namespace(&self, name: &str) {
        let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        self.create("/api/v1/namespaces", &object).await;
    }

    pub async fn node(&self, name: &str, zone: &str) {
        let object = json!({ "apiVersion": "v1", "kind": "Node", "metadata": {
            "name": name, "labels": { "topology.kubernetes.io/zone": zone } } });
        self.create("/api/v1/nodes", &object).await;
    }

    /// Creates a pod on node `n1` and makes it ready at `address`.
    pub async fn ready_pod(&self, namespace: &str, name: &str, labels: &Value, address: &str) {
        let object = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": labels },
            "spec": {
                "nodeName": "n1", "automountServiceAccountToken": false,
                "containers": [{ "name": "c", "image": "nginx",
                    "ports": [{ "name": "http", "containerPort": 80 }] }],
            },
        });
        self.create(&format!("/api/v1/namespaces/{namespace}/pods"), &object).await;
        let status = json!({ "status": {
            "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }],
            "conditions": [{ "type": "Ready", "status": "True" }],
        }});
        self.patch(&format!("/api/v1/namespaces/{namespace}/pods/{name}/status"), &status).await;
    }

    pub async fn set_ready(&self, namespace: &str, name: &str, ready: bool) {
        let status = if ready { "True" } else { "False" };
        let patch = json!({ "status": { "conditions": [{ "type": "Ready", "status": status }] } });
        self.patch(&format!("/api/v1/namespaces/{namespace}/pods/{name}/status"), &patch).await;
    }

    pub async fn patch(&self, path: &str, patch: &Value) {
        self.call(Method::PATCH, path, "application/strategic-merge-patch+json", patch.to_string()).await;
    }

    /// Deletes a pod. With a grace period it only gets its deletionTimestamp, since no kubelet ends
    /// it.
    pub async fn delete_pod(&self, namespace: &str, name: &str, at_once: bool) {
        let grace = if at_once { 0 } else { 60 };
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}?gracePeriodSeconds={grace}");
        self.call(Method::DELETE, &path, "application/json", String::new()).await;
    }

    /// Watches the pods of a namespace from now on, as muster does, to learn when the API server
    /// reports a change.
    pub async fn watch_pods(&self, namespace: &str, selector: &str) -> PodWatch {
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let (_, list) = self.try_call(Method::GET, &path, None, "").await.unwrap();
        let version = list["metadata"]["resourceVersion"].as_str().unwrap();
        let url = format!(
            "https://{}{path}?watch=1&resourceVersion={version}&labelSelector={selector}",
            self.address
        );
        let response = self.client.get(url).bearer_auth(ADMIN).send().await.unwrap();
        assert!(response.status().is_success());
        PodWatch { response, received: Vec::new() }
    }
}

/// An open watch.
pub struct PodWatch {
    response: reqwest::Response,
    received: Vec<u8>,
}

impl PodWatch {
    /// The next event: its type, the pod's name, and when it arrived.
    pub async fn next(&mut self) -> (String, String, Instant) {
        let (event, told) = self.next_event().await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]), told)
    }

    /// The next event, and when it arrived.
    pub async fn next_event(&mut self) -> (Value, Instant) {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                let told = Instant::now();
                return (serde_json::from_slice(&line).unwrap(), told);
            }
            let chunk = self.response.chunk().await.unwrap().expect("the watch goes on");
            self.received.extend_from_slice(&chunk);
        }
    }
}

/// Makes an authority and the server's certificate; returns the authority's.
fn make_certificates(write: &impl Fn(&str, String)) -> String {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let names = ["127.0.0.1", "localhost"].map(str::to_owned);
    let server = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    write("ca.crt", certificate.pem());
    write("server.crt", server.pem());
    write("server.key", key.serialize_pem());
    certificate.pem()
}
