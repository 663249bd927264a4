"""Images: files of every usual format become volumes with a place in the patient, volumes become planes of 8-bit grey
or colour by a declared recipe, and planes are kept on disk so that nothing is decoded twice."""
