-- Prosody on loopback: plain text, no rate limits, no other servers, accounts on disk.
-- Words in @...@ are filled in by tests/peers/prosody.py.
run_as_root = true
pidfile = "@work@/prosody.pid"
data_path = "@work@/data"
certificates = "@work@"
network_backend = "epoll"
interfaces = { "127.0.0.1" }
component_interfaces = { "127.0.0.1" }
c2s_ports = { @c2s_port@ }
component_ports = { @component_port@ }
s2s_ports = { }
http_ports = { @http_port@ }
https_ports = { }
http_interfaces = { "127.0.0.1" }
c2s_direct_tls_ports = { }

modules_enabled = { "saslauth", "roster", "disco"@modules@ }
modules_disabled = { "s2s", "tls"@without@ }

authentication = "internal_plain"
storage = "internal"
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
component_tcp_keepalives = true

log = { { levels = { min = "info" }, to = "console" } }

VirtualHost "@domain@"

@components@
