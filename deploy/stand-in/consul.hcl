# /etc/consul.d/muster.hcl; then: consul reload
# Consul's DNS port asks muster for every name outside of Consul's own domain.
recursors = ["127.0.0.1:53"]
