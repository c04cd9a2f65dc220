/**
 * The measured programs: the ingress; the ingress again, with a sandbox that has a policy; the simplest proxy on Bun;
 * other proxies; the Go ingress; no proxy at all.
 */
export const CONTENDERS = ["ingress", "policy", "bare", "nginx", "haproxy", "caddy", "go", "upstream"] as const;
export type ContenderName = (typeof CONTENDERS)[number];
