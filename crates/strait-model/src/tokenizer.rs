//! x
/// x
pub struct Tokenizer;
/// x
pub struct Message;
/// x
pub struct EncodedChat;
/// x
pub struct Role;
