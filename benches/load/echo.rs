//! A bare UDP echo: what the kernel alone costs, the floor under every server.

use std::{
    io::{IoSlice, Write as _},
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
};

use rustix::net::SocketAddrAny;

use crate::{
    batch::{BATCH, Inbox, send_all},
    child::end_with_input,
};

/// Longest answer that can be asked for.
const MAX_SIZE: usize = 1232;

/// How `load echo` is run.
#[derive(clap::Args, Debug)]
pub(crate) struct Settings {
    /// Bytes of every answer.
    #[arg(long, default_value_t = 194, value_parser = clap::value_parser!(u16).range(12..=1232))]
    size: u16,
}

/// Answers every datagram with so many bytes, whose first two are the query's, until the input
/// ends.
pub(crate) fn serve(settings: &Settings) -> anyhow::Result<()> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    socket.set_recv_buffer_size(4 << 20)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into())?;
    let socket = UdpSocket::from(socket);
    println!("listening {}", socket.local_addr()?);
    println!("loaded");
    std::io::stdout().flush()?;
    end_with_input();

    let mut inbox = Inbox::new();
    let mut answers = [[0_u8; MAX_SIZE]; BATCH];
    let nobody = SocketAddrAny::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
    let mut peers: [SocketAddrAny; BATCH] = std::array::from_fn(|_| nobody.clone());
    loop {
        let count = inbox.wait(&socket)?;
        for index in 0..count {
            let (question, peer) = inbox.datagram(index);
            let id = question.get(..2).unwrap_or(&[0, 0]);
            answers[index][..2].copy_from_slice(id);
            peers[index] = peer.into();
        }
        let packets: [IoSlice<'_>; BATCH] =
            std::array::from_fn(|index| IoSlice::new(&answers[index][..usize::from(settings.size)]));
        send_all(&socket, &packets[..count], Some(&peers[..count]))?;
    }
}
