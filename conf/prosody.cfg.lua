-- What Prosody needs to know of Stoxgate. Put
--     Include "/etc/stoxgate/prosody.cfg.lua"
-- into prosody.cfg.lua, right above the first VirtualHost. `prosodyctl check config` says whether all is well.

-- The link is not encrypted: keep it on this machine, or on a network that is as safe. The port is the one of [xmpp] server.
component_ports = { 5347 }
component_interfaces = { "127.0.0.1" }

-- One component for each of [sip] domains. The secret is that of [xmpp]; whoever has it can speak as everybody in this domain.
Component "example.net"
    component_secret = "change-me"
    -- A gateway that comes back after its machine or network died finds its old connection still standing here. It has to replace that
    -- one; Prosody's own choice is to keep the dead one and send the new one away until TCP has noticed.
    component_conflict_resolve = "kick_old"

-- For files from SIP ([xmpp] upload): the service takes them from the component above unless http_file_share_access is set; then it has to
-- name "example.net" beside your own domains.
-- Component "upload.example.com" "http_file_share"
