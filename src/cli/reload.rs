//! `muster reload`.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use reqwest::{Method, StatusCode};

use super::{
    admin_port::{Server, send},
    fail, print,
};

pub(super) fn run(server: &Server) -> ExitCode {
    let mut url = match server.find() {
        Ok(url) => url,
        Err(code) => {
            let _ = writeln!(io::stderr(), "\nmuster: nothing was sent: the server goes on as it is");
            return code;
        }
    };
    url.set_path("v1/reload");
    match send(Method::POST, &url) {
        Ok((status, text)) if status.is_success() => {
            print(&text);
            ExitCode::SUCCESS
        }
        Ok((StatusCode::UNPROCESSABLE_ENTITY, text)) => {
            let _ = write!(io::stderr(), "{text}");
            ExitCode::from(2)
        }
        Ok((status, text)) => fail(&anyhow::anyhow!("the admin port answers {status}: {}", text.trim())),
        Err(error) => fail(&error),
    }
}
