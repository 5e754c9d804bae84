# /etc/consul.d/muster.hcl; then: consul reload
# Consul's DNS port forwards every name outside Consul's own domain to muster.
recursors = ["127.0.0.1:53"]
