"""What libnbd, a client of the protocol's own authors, finds at a server of an empty disk `ram` of 64 MiB and a read-only
`rom` of 1 MiB. The socket's path is the argument. Run by tools.rs; each failed assertion is the test's failure."""

import errno
import random
import sys

import nbd

SOCKET = sys.argv[1]
SIZE = 64 << 20


def connect(name="ram", contexts=(), structured=True):
    handle = nbd.NBD()
    handle.set_export_name(name)
    handle.set_request_structured_replies(structured)
    # Nothing is held back that a server should refuse by itself.
    handle.set_strict_mode(0)
    for context in contexts:
        handle.add_meta_context(context)
    handle.connect_unix(SOCKET)
    return handle


def fails(expected, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except nbd.Error as error:
        assert error.errnum == expected, (expected, error.errno, error.string)
        return error.string
    raise AssertionError(f"{call} did not fail")


def options():
    handle = nbd.NBD()
    handle.set_opt_mode(True)
    handle.connect_unix(SOCKET)
    names = []
    handle.opt_list(lambda name, description: names.append((name, description)))
    assert names == [("ram", f"{SIZE} bytes of memory"), ("rom", f"{1 << 20} bytes of memory")], names

    handle.set_export_name("none")
    fails(errno.ENOENT, handle.opt_info)
    fails(errno.ENOENT, handle.opt_go)
    handle.set_export_name("rom")
    handle.opt_info()
    assert handle.is_read_only() and handle.get_size() == 1 << 20
    found = []
    handle.opt_list_meta_context(found.append)
    assert found == ["base:allocation", "ram:written"], found
    handle.set_export_name("ram")
    handle.add_meta_context("base:allocation")
    handle.add_meta_context("x-nobody:knows")
    handle.opt_go()
    assert handle.can_meta_context("base:allocation") and not handle.can_meta_context("x-nobody:knows")
    handle.shutdown()

    handle = nbd.NBD()
    handle.set_opt_mode(True)
    handle.connect_unix(SOCKET)
    handle.opt_abort()


def requests(structured):
    handle = connect(structured=structured)
    assert handle.get_structured_replies_negotiated() == structured
    assert handle.can_df() == structured
    data = random.Random(1).randbytes(3 << 20)
    handle.pwrite(data, 1 << 20)
    assert handle.pread(len(data), 1 << 20) == data
    handle.pwrite(data[:777], 12345, nbd.CMD_FLAG_FUA)
    handle.zero(4096, 1 << 20, nbd.CMD_FLAG_NO_HOLE)
    handle.zero(4096, 2 << 20, nbd.CMD_FLAG_FAST_ZERO)
    handle.trim(4096, 3 << 20, nbd.CMD_FLAG_FUA)
    handle.cache(1 << 20, 0)
    handle.flush()
    assert handle.pread(8192, 1 << 20) == bytes(4096) + data[4096:8192]

    fails(errno.EINVAL, handle.pread, 512, SIZE)
    fails(errno.ENOSPC, handle.pwrite, bytes(512), SIZE - 511)
    fails(errno.ENOSPC, handle.zero, 512, SIZE)
    fails(errno.EINVAL, handle.trim, 512, SIZE)
    fails(errno.EINVAL, handle.pread, 512, 0, 1 << 10)
    assert handle.pread(512, SIZE - 512) == bytes(512)
    if structured:
        chunks = []
        handle.pread_structured(
            2 << 20, 0, lambda data, offset, status, error: chunks.append((offset, len(data), status)), nbd.CMD_FLAG_DF
        )
        assert chunks == [(0, 2 << 20, nbd.READ_DATA)], chunks
    handle.shutdown()


def contexts():
    handle = connect(contexts=["base:allocation", "ram:written"])
    told = {}

    def tell(name, offset, entries, error):
        told[name] = list(zip(entries[::2], entries[1::2]))

    handle.block_status(SIZE, 0, tell)
    assert set(told) == {"base:allocation", "ram:written"}
    assert all(sum(length for length, _ in extents) == SIZE for extents in told.values())
    handle.block_status(32 << 20, 32 << 20, tell, nbd.CMD_FLAG_REQ_ONE)
    assert told["base:allocation"] == [(32 << 20, 3)], told
    fails(errno.EINVAL, handle.block_status, 512, SIZE, tell)
    handle.shutdown()
    without = connect()
    fails(errno.EINVAL, without.block_status, 512, 0, tell)
    without.shutdown()


def many_at_once():
    handle = connect()
    writes = [handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray([at + 1]) * 5000), at * 5000) for at in range(200)]
    pending = set(writes)
    while pending:
        handle.poll(-1)
        pending = {cookie for cookie in pending if not handle.aio_command_completed(cookie)}
    buffers = [nbd.Buffer(5000) for _ in range(200)]
    pending = {handle.aio_pread(buffer, at * 5000) for at, buffer in enumerate(buffers)}
    while pending:
        handle.poll(-1)
        pending = {cookie for cookie in pending if not handle.aio_command_completed(cookie)}
    for at, buffer in enumerate(buffers):
        assert buffer.to_bytearray() == bytes([at + 1]) * 5000, at
    handle.shutdown()


def read_only():
    handle = connect("rom")
    assert handle.is_read_only()
    for call in (lambda: handle.pwrite(bytes(512), 0), lambda: handle.trim(512, 0), lambda: handle.zero(512, 0)):
        fails(errno.EPERM, call)
    handle.flush()
    assert handle.pread(512, 0) != bytes(512)
    handle.shutdown()


options()
requests(structured=True)
requests(structured=False)
contexts()
many_at_once()
read_only()
last = connect()
last.pwrite(b"done", 0)
last.shutdown()
