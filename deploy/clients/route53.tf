# Route 53 Resolver: names of these namespaces go from the VPC through the outbound endpoint to muster.
# Let the endpoint's addresses query muster: [access] allow.
variable "resolver_endpoint_id" {
  type        = string
  description = "ID of the outbound endpoint, such as rslvr-out-0123456789abcdef0"
}

variable "vpc_ids" {
  type        = set(string)
  description = "VPCs that resolve these names"
}

locals {
  muster_namespaces = toset(["lab.internal", "shop.internal"])
}

resource "aws_route53_resolver_rule" "muster" {
  for_each = local.muster_namespaces

  domain_name          = each.key
  name                 = "muster-${replace(each.key, ".", "-")}"
  rule_type            = "FORWARD"
  resolver_endpoint_id = var.resolver_endpoint_id

  target_ip {
    ip   = "10.0.0.53"
    port = 53
  }
}

resource "aws_route53_resolver_rule_association" "muster" {
  for_each = { for pair in setproduct(local.muster_namespaces, var.vpc_ids) : join(" ", pair) => pair }

  resolver_rule_id = aws_route53_resolver_rule.muster[each.value[0]].id
  vpc_id           = each.value[1]
}
