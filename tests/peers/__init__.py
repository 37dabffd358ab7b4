"""Independent programs that the tests run the gateway beside, one module each; on 127.0.0.1, in a folder, ended by pid."""
