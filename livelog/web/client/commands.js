/* The commands that turn the subscription in force into the wanted one. */

/** Return them in order. `wanted` and `inForce` map a type to its filters as JSON; the last command
 * moves the connection to `since`, if that is not null. With `batch` messages come in arrays. */
export function subscriptionCommands(wanted, inForce, since, batch = false) {
  const gone = [...inForce.keys()].filter((type) => !wanted.has(type));
  const differing = [...wanted].filter(([type, filters]) => inForce.get(type) !== filters);
  // Only a `subscribe` moves the connection, even if its types are in force already.
  const named = differing.length || since === null ? differing : [...wanted];
  const commands = gone.length ? [{ action: "unsubscribe", message_types: gone }] : [];
  for (const [filters, message_types] of typesByFilters(named)) {
    const command = { action: "subscribe", message_types, filters: JSON.parse(filters) };
    commands.push(batch ? { ...command, batch } : command);
  }
  if (since !== null && named.length) commands.at(-1).since = since;
  return commands;
}

function typesByFilters(pairs) {
  const groups = new Map();
  for (const [type, filters] of pairs) {
    groups.set(filters, [...(groups.get(filters) ?? []), type]);
  }
  return groups;
}
