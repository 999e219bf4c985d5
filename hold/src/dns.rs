//! One DNS question at a time, asked by ourselves: a static program's getaddrinfo would load the
//! container's own files. RFC 1035; the resolver's addresses and the cluster's domain come from
//! `/etc/resolv.conf`, which the kubelet writes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, Question, RCODE, TYPE};

/// The name that every cluster has, without its domain.
pub(crate) const CLUSTERS_OWN: &str = "kubernetes.default.svc";
/// How long one resolver is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// A UDP answer without extensions is no longer (RFC 1035 section 4.2.1).
const LONGEST: usize = 512;

/// What a resolver says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It has these, or none of the kinds that were asked for.
    Addresses(Vec<IpAddr>),
    /// There is no such name (NXDOMAIN).
    NoSuchName,
}

/// The resolvers of this pod.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resolver {
    servers: Vec<SocketAddr>,
    /// The cluster's domain, `cluster.local` mostly.
    domain: String,
}

impl Resolver {
    pub(crate) fn of_this_pod() -> io::Result<Self> {
        Self::read(&std::fs::read_to_string("/etc/resolv.conf")?)
    }

    fn read(text: &str) -> io::Result<Self> {
        let words = || text.lines().map(|line| line.split_whitespace());
        let servers: Vec<_> = words()
            .filter_map(|mut words| match words.next() {
                Some("nameserver") => words.next()?.parse::<IpAddr>().ok(),
                _ => None,
            })
            .map(|address| SocketAddr::new(address, 53))
            .collect();
        // The kubelet's search list is NAMESPACE.svc.DOMAIN svc.DOMAIN DOMAIN.
        let domain = words()
            .filter_map(|mut words| (words.next() == Some("search")).then_some(words))
            .flatten()
            .find_map(|domain| domain.strip_prefix("svc."));
        match domain {
            Some(domain) if !servers.is_empty() => Ok(Self {
                servers,
                domain: domain.trim_end_matches('.').to_owned(),
            }),
            _ => Err(io::Error::other(
                "resolv.conf does not name the cluster's DNS",
            )),
        }
    }

    /// Asks each resolver until one answers. `name` is without the cluster's domain.
    pub(crate) fn lookup(&self, name: &str) -> io::Result<Answer> {
        let name = format!("{name}.{}", self.domain);
        let mut last = io::Error::other("no resolver");
        for server in &self.servers {
            match ask(*server, &name) {
                Ok(answer) => return Ok(answer),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Both kinds of address; a name that does not exist has neither.
fn ask(server: SocketAddr, name: &str) -> io::Result<Answer> {
    let mut found = Vec::new();
    for kind in [TYPE::A, TYPE::AAAA] {
        match ask_for(server, name, kind)? {
            Answer::NoSuchName => return Ok(Answer::NoSuchName),
            Answer::Addresses(addresses) => found.extend(addresses),
        }
    }
    Ok(Answer::Addresses(found))
}

fn ask_for(server: SocketAddr, name: &str, kind: TYPE) -> io::Result<Answer> {
    let any = match server.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0))?;
    // Takes answers from there only; its port is as random as the kernel makes it.
    socket.connect(server)?;
    let id = socket.local_addr()?.port();
    let mut question = Packet::new_query(id);
    question.set_flags(simple_dns::PacketFlag::RECURSION_DESIRED);
    let asked = Name::new(name).map_err(io::Error::other)?;
    let class = CLASS::IN.into();
    question
        .questions
        .push(Question::new(asked, kind.into(), class, false));
    socket.send(&question.build_bytes_vec().map_err(io::Error::other)?)?;
    let until = Instant::now() + PATIENCE;
    let mut buffer = [0; LONGEST];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = socket.recv(&mut buffer)?;
        if let Ok(packet) = Packet::parse(&buffer[..length])
            && packet.id() == id
        {
            return answer(&packet);
        }
    }
}

fn answer(packet: &Packet<'_>) -> io::Result<Answer> {
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(Answer::NoSuchName),
        other => return Err(io::Error::other(format!("the resolver says {other:?}"))),
    }
    let address = |data: &RData<'_>| match data {
        RData::A(a) => Some(IpAddr::from(Ipv4Addr::from(a.address))),
        RData::AAAA(aaaa) => Some(IpAddr::from(std::net::Ipv6Addr::from(aaaa.address))),
        _ => None,
    };
    let found = packet.answers.iter().filter_map(|one| address(&one.rdata));
    Ok(Answer::Addresses(found.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::A;

    #[test]
    fn the_kubelets_file_names_resolvers_and_domain() {
        let text = "search shop.svc.example.org svc.example.org example.org\nnameserver 10.96.0.10\noptions ndots:5\n";
        let resolver = Resolver::read(text).unwrap();
        assert_eq!(resolver.servers, ["10.96.0.10:53".parse().unwrap()]);
        assert_eq!(resolver.domain, "example.org");
        // A hostNetwork pod has its node's: that says nothing of the cluster.
        assert!(Resolver::read("nameserver 192.0.2.1\nsearch lan\n").is_err());
        assert!(Resolver::read("search a.svc.b svc.b b\n").is_err());
    }

    /// A resolver that answers all questions alike.
    fn resolver(says: RCODE, address: Option<Ipv4Addr>) -> Resolver {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let servers = vec![socket.local_addr().unwrap()];
        std::thread::spawn(move || {
            let mut buffer = [0; LONGEST];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let question = Packet::parse(&buffer[..length]).unwrap();
                let mut reply = Packet::new_reply(question.id());
                *reply.rcode_mut() = says;
                let asked = question.questions[0].clone();
                if let Some(address) = address.filter(|_| asked.qtype == TYPE::A.into()) {
                    reply.answers.push(ResourceRecord::new(
                        asked.qname.clone(),
                        CLASS::IN,
                        5,
                        RData::A(A::from(address)),
                    ));
                }
                reply.questions.push(asked);
                let _ = socket.send_to(&reply.build_bytes_vec().unwrap(), from);
            }
        });
        let domain = "cluster.local".to_owned();
        Resolver { servers, domain }
    }

    #[test]
    fn a_name_that_is_gone_is_told_from_one_that_cannot_be_asked_for() {
        let here = resolver(RCODE::NoError, Some(Ipv4Addr::LOCALHOST));
        let found = Answer::Addresses(vec![Ipv4Addr::LOCALHOST.into()]);
        assert_eq!(here.lookup("a.b.svc").unwrap(), found);
        let gone = resolver(RCODE::NameError, None);
        assert_eq!(gone.lookup("a.b.svc").unwrap(), Answer::NoSuchName);
        let broken = resolver(RCODE::ServerFailure, None);
        assert!(broken.lookup("a.b.svc").is_err());
        // Bound and silent.
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let silent = Resolver {
            servers: vec![silent.local_addr().unwrap()],
            domain: "cluster.local".to_owned(),
        };
        assert!(silent.lookup("a.b.svc").is_err());
    }
}
