"""The configuration of a private Dovecot, of version 2.3 or 2.4."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .programs import Owner


@dataclass(frozen=True, slots=True)
class Settings:
    """What is particular to one server."""

    version: tuple[int, ...]
    directory: Path
    password: str
    log_file: Path
    owner: Owner
    ports: Mapping[str, int]  # by service: imap, imaps, pop3, pop3s, lmtp
    more: str  # further lines


def configuration(server: Settings) -> str:
    """The text of its dovecot.conf."""
    return (_for_2_4 if server.version >= (2, 4) else _for_2_3)(server) + _for_both(server) + server.more


def _for_2_3(server: Settings) -> str:
    owner, home = server.owner, server.directory
    return f"""
protocols = imap pop3 lmtp
ssl_cert = <{home}/tls/server.pem
ssl_key = <{home}/tls/server.key
disable_plaintext_auth = no
auth_mechanisms = plain login
mail_location = maildir:~/Maildir
rawlog_dir = {home}/transcripts/%u
passdb {{
  driver = static
  args = password={server.password}
}}
userdb {{
  driver = static
  args = uid={owner.uid} gid={owner.gid} home={home}/mail/%u allow_all_users=yes
}}
service imap-login {{
  service_count = 0
}}
service pop3-login {{
  service_count = 0
}}
"""


def _for_2_4(server: Settings) -> str:
    """By the documentation: Dovecot 2.4 renamed many settings and refuses the old names."""
    owner, home = server.owner, server.directory
    return f"""dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
protocols = imap pop3 lmtp
ssl_server_cert_file = {home}/tls/server.pem
ssl_server_key_file = {home}/tls/server.key
auth_allow_cleartext = yes
auth_mechanisms = plain login
mail_driver = maildir
mail_path = ~/Maildir
rawlog_dir = {home}/transcripts/%{{user}}
passdb static {{
  password = {server.password}
}}
userdb static {{
  allow_all_users = yes
  fields {{
    uid = {owner.uid}
    gid = {owner.gid}
    home = {home}/mail/%{{user}}
  }}
}}
"""


def _for_both(server: Settings) -> str:
    owner, home, ports = server.owner, server.directory, server.ports
    return f"""
listen = 127.0.0.1
base_dir = {home}/run
state_dir = {home}/state
log_path = {server.log_file}
instance_name = ingestd-private
default_internal_user = {owner.user}
default_internal_group = {owner.group}
default_login_user = {owner.user}
default_process_limit = 500
default_client_limit = 4000
default_vsz_limit = 2G
first_valid_uid = 1
first_valid_gid = 1
ssl = yes
auth_failure_delay = 0
mail_max_userip_connections = 1000
# Where Linux lets no more mailboxes be watched (fs.inotify.max_user_instances), they are looked at this often.
mailbox_idle_check_interval = 2s
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Archive {{
    auto = no
    special_use = \\Archive
  }}
  mailbox Sent {{
    auto = no
    special_use = \\Sent
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {ports["imap"]}
  }}
  inet_listener imaps {{
    port = {ports["imaps"]}
    ssl = yes
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {ports["pop3"]}
  }}
  inet_listener pop3s {{
    port = {ports["pop3s"]}
    ssl = yes
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {ports["lmtp"]}
  }}
}}
protocol lmtp {{
  postmaster_address = postmaster@localhost
}}
"""
