// The usage examples of the source document's services, with the paths of the imports changed and ids that the demo world has.
import { getDeliveryEventHandler, getOfflineQueueService, getPresenceService, getSyncService, getTypingService, realtimeClient } from "../../src/services.js";

type Log = (...what: unknown[]) => void;

export async function client(url: string, token: string, channelId: string, log: Log) {
  // Initialize
  realtimeClient.initialize({
    url,
    debug: true,
  })

  // Connect with auth token
  await realtimeClient.connect(token)

  // Subscribe to events
  const unsub = realtimeClient.on('message:new', (data) => {
    log('New message:', data)
  })

  // Emit events
  realtimeClient.emit('typing:start', { channelId })

  // Async request
  const response = await realtimeClient.emitAsync('channel:join', { channelId })
  return { unsub, response }
}

export function delivery(messageId: string, channelId: string, log: Log) {
  const deliveryHandler = getDeliveryEventHandler({ debug: true })
  deliveryHandler.initialize()

  // Track outgoing message
  deliveryHandler.trackOutgoingMessage('client-msg-123', 'ch-1', 3 /* recipients */)

  // Acknowledge read
  deliveryHandler.acknowledgeRead(messageId, channelId)

  // Listen for delivery events
  return deliveryHandler.subscribe((event, data) => {
    if (event === 'message:delivered') {
      log('Message delivered:', (data as { messageId: string }).messageId)
    }
  })
}

export async function presence(me: string, other: string, log: Log) {
  const presenceService = getPresenceService({ debug: true })
  presenceService.initialize()
  presenceService.setCurrentUserId(me)

  // Set status
  presenceService.setStatus('online')

  // Set custom status
  presenceService.setCustomStatus({
    text: 'In a meeting',
    emoji: '📅',
    expiresAt: new Date(Date.now() + 3600000), // 1 hour
  })

  // Subscribe to users' presence
  presenceService.subscribeToUsers([other])

  // Listen for presence changes
  presenceService.onPresenceChange((presence) => {
    log(`${presence.userId} is now ${presence.status}`)
  })

  // Get presence (with privacy filtering)
  const presence = presenceService.getPresence(other)

  // Update privacy settings
  await presenceService.updatePresenceSettings(me, {
    visibility: 'contacts',
    showLastSeen: false,
    invisibleMode: false,
  })

  // Enable invisible mode
  await presenceService.setInvisibleMode(true)
  const visibility = await presenceService.canViewPresence(me, other)
  await presenceService.updatePresenceSettings(me, { visibility: 'everyone', showLastSeen: true, invisibleMode: false })
  return { presence, visibility }
}

export function typing(me: string, channelId: string, threadId: string, dmId: string, log: Log) {
  const typingService = getTypingService({ debug: true })
  typingService.initialize()
  typingService.setCurrentUserId(me)

  // Start typing in channel
  typingService.startTyping(channelId)

  // Start typing in thread
  typingService.startTypingInThread(channelId, threadId)

  // Start typing in DM
  typingService.startTypingInDM(dmId, 'recipient-789')

  // Stop typing
  typingService.stopTyping(channelId)

  // Handle input changes (debounced)
  typingService.handleInputChange(channelId, "messageContent")

  // Get typing users
  const typingUsers = typingService.getTypingUsers(channelId)
  const typingText = typingService.getTypingText(channelId)

  // Listen for typing changes (room-specific)
  const stop = typingService.onRoomTypingChange(channelId, 'channel', (roomName, users) => {
    log(`${users.length} users typing in ${roomName}`)
  })

  // Update privacy settings
  typingService.updatePrivacySettings({
    broadcastTyping: true,
    typingVisibility: 'contacts',
  })
  return { typingUsers, typingText, stop }
}

export async function queueAndSync(channelId: string, log: Log) {
  // Offline queue
  const offlineQueue = getOfflineQueueService({ debug: true })
  offlineQueue.initialize()

  // Listen for queue events
  offlineQueue.subscribe((event, data) => {
    if (event === 'queue:flushed') {
      log(`Flushed ${data.count} messages`)
    }
  })

  // Queue a message while offline
  const queued = offlineQueue.queueMessage({
    channelId,
    content: 'Hello!',
    type: 'text',
  })
  await queued.stored;

  // Flush when online
  const flushed = await offlineQueue.flushQueue()

  // Sync service
  const syncService = getSyncService({
    autoSyncOnReconnect: true,
    debug: true,
  })
  syncService.initialize()

  // Manual sync
  const result = await syncService.syncOnReconnect()

  // Sync specific channel
  const { messages, conflicts } = await syncService.syncMessages(channelId)

  // Listen for sync events
  syncService.subscribe((event, data) => {
    switch (event) {
      case 'sync:started':
      case 'sync:progress':
      case 'sync:completed':
      case 'sync:conflict':
        log('Sync event:', event, data)
    }
  })
  return { queued, flushed, result, messages, conflicts };
}
