/* A real OAuth2 server, the package oidc-provider, for one client that speaks for itself, and one
 * that is a page and may be anywhere. The resource that they ask for says which kind of token they
 * get: a JWT or an opaque one.
 */
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [nodeModules, port] = process.argv.slice(2);
const found = createRequire(`${nodeModules}/`).resolve("oidc-provider");
const { default: Provider } = await import(pathToFileURL(found));

const rest = { redirect_uris: [], response_types: [] };
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: "bot",
      client_secret: "the secret of the bot",
      grant_types: ["client_credentials"],
      scope: "read publish",
      ...rest,
    },
    {
      client_id: "viewer",
      token_endpoint_auth_method: "none",
      grant_types: ["authorization_code", "refresh_token"],
      redirect_uris: ["http://127.0.0.1/"],
      scope: "openid read publish",
    },
    { client_id: "livelog", client_secret: "the secret of livelog", grant_types: [], ...rest },
  ],
  scopes: ["openid", "read", "publish"],
  clientBasedCORS: () => true,
  issueRefreshToken: () => true,
  ttl: { AccessToken: () => 6 },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({
        scope: "read publish",
        audience: "livelog",
        accessTokenFormat: resource.endsWith("/jwt") ? "jwt" : "opaque",
      }),
    },
  },
});
provider.Client.prototype.redirectUriAllowed = () => true;
provider.Client.prototype.postLogoutRedirectUriAllowed = () => true;
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
process.stdin.on("end", () => process.exit(0)).resume();
