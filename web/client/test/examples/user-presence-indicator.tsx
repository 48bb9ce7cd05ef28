// The presence indicator of the source document, with the path of the import changed.
'use client'

import { useRealtimePresence } from "../../src/react.js";

const formatRelative = (d: Date) => d.toISOString();

export function UserPresenceIndicator({ userId }: { userId: string }) {
  const { presence, isLoading } = useRealtimePresence(userId)

  if (isLoading || !presence) return null

  const statusColor = {
    online: 'bg-green-500',
    away: 'bg-yellow-500',
    busy: 'bg-red-500',
    offline: 'bg-gray-500',
  }[presence.status]

  return (
    <div className="flex items-center gap-2">
      <div className={`h-2 w-2 rounded-full ${statusColor}`} />
      <span className="text-sm text-muted-foreground">
        {presence.status}
        {presence.lastSeenAt && presence.status === 'offline' && (
          <span> • Last seen {formatRelative(presence.lastSeenAt)}</span>
        )}
      </span>
      {presence.customStatus?.text && (
        <span className="text-sm">
          {presence.customStatus.emoji} {presence.customStatus.text}
        </span>
      )}
    </div>
  )
}
