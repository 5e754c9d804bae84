//! `muster reload`.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use reqwest::{Method, StatusCode};

use super::{
    admin_port::{AdminPort, send},
    output::{fail, print},
};

pub(super) fn run(server: &AdminPort) -> ExitCode {
    let mut url = match server.check().and_then(|()| server.find()) {
        Ok(url) => url,
        Err(code) => {
            let _ = writeln!(io::stderr(), "\nmuster: reload not requested; the server is unchanged");
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
        Ok((status, text)) => fail(&anyhow::anyhow!("the admin port returned {status}: {}", text.trim())),
        Err(error) => server.fail(&error),
    }
}
