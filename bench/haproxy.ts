/** HAProxy's configuration as a tool of kind proxy that changes nothing. It waits longer than what runs through it. */
export function carryingHaproxy(port: number, back: number): string {
  return `defaults
  mode tcp
  timeout connect 30s
  timeout client 10m
  timeout server 10m
frontend tool
  bind 127.0.0.1:${port} accept-proxy
  unique-id-format %[fc_pp_unique_id]
  default_backend node
backend node
  server clearline 127.0.0.1:${back} send-proxy-v2 proxy-v2-options unique-id
`;
}
